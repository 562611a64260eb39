"""Reward models on Qwen2-VL: what they see, read in tensors, and their scores at marks in an instruction.

VideoAlign's VideoReward and HPSv3 are of this make: the states of the language model at special tokens of
the instruction go through a head. Both authors' code numbers the positions of text and picture tokens one
after the other, not in three dimensions as Qwen2-VL itself, and so does this.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vader_bench.errors import UserError, shown
from vader_bench.files import read_text
from vader_bench.rewards.base import PromptReader, Reward
from vader_bench.rewards.preprocess import CLIP_MEAN, CLIP_STD, Normalise, resize
from vader_bench.weights.networks import lowered, make_network
from vader_bench.weights.sizes import local_folder, read_sizes
from vader_bench.weights.tensors import told_as_damaged
from vader_bench.weights.tokenizers import read_tokenizer

if TYPE_CHECKING:
    from transformers import Qwen2VLConfig

__all__ = [
    "Precision", "QwenPatches", "QwenReader", "QwenReward", "QwenScorer", "Tokens", "Words", "bare_config",
    "bare_scorer", "instruction", "make_scorer", "plain_names", "qwen_config", "refuse_marks", "smart_size",
]  # fmt: skip

Precision = Literal["float32", "bfloat16"]
"""What the network is kept and run in; its authors run it in bfloat16."""

_INSTRUCTIONS = Path(__file__).with_name("instructions")
_BEFORE = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
_AFTER = "<|vision_end|>{text}<|im_end|>\n<|im_start|>assistant\n"
"""Qwen2-VL's form of a question about a picture, as its processor writes it."""
_TOKENS = 850
"""Of a question, for estimates: about those of the longer instruction."""


class Tokens(NamedTuple):
    """A question about a picture: tokens before and after those of the picture."""

    before: list[int]
    after: list[int]
    marks: list[int]
    """Places of the marks in ``after``."""


Words = Callable[[str], Tokens]
"""Makes the tokens of a question of a prompt."""


def instruction(name: str) -> str:
    """Return the text that the model ``name`` was trained with, with ``{text_prompt}`` for the prompt."""
    return read_text(_INSTRUCTIONS / f"{name}.txt")


def refuse_marks(prompt: str) -> None:
    """Refuse a prompt that holds what the tokenizer would take for a special token.

    Raises:
        UserError: it does.
    """
    found = re.search(r"<\|\w*\|>", prompt)
    if found is not None:
        wrong = f"holds {found[0]}, which is a mark of the reward model"
        raise UserError(f"prompt {shown(prompt)}", wrong, "write it in words")


class QwenReader:
    """Makes the tokens of questions about pictures.

    Args:
        tokenizer: of Qwen2-VL, with the marks as special tokens.
        text: the instruction.
        marks: special tokens in it at which scores are read.
    """

    def __init__(self, tokenizer: Any, text: str, marks: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._text = text
        self._marks = [tokenizer.convert_tokens_to_ids(mark) for mark in marks]
        self.size = len(tokenizer)
        """How many tokens there are, and rows of the network's table of them."""
        self._before: list[int] = tokenizer(_BEFORE).input_ids

    @classmethod
    def load(cls, folder: Path, text: str, marks: Sequence[str]) -> QwenReader:
        """Return the reader of the tokenizer in ``folder``, with the marks added as the authors do it.

        Raises:
            UserError: there is no tokenizer, or not Qwen2-VL's.
        """
        tokenizer = read_tokenizer(folder)
        unknown = tokenizer.unk_token_id
        for token in ("<|im_start|>", "<|vision_start|>", "<|vision_end|>"):
            if tokenizer.convert_tokens_to_ids(token) in {unknown, None}:
                raise UserError(
                    str(folder), f"has a tokenizer without {token}", "give the folder of Qwen2-VL"
                )
        tokenizer.add_special_tokens({"additional_special_tokens": list(marks)})
        return cls(tokenizer, text, marks)

    def __call__(self, prompt: str) -> Tokens:
        """Return the tokens of the question about a picture of ``prompt``.

        Raises:
            UserError: the prompt holds a special token.
        """
        refuse_marks(prompt)
        text = self._text.replace("{text_prompt}", prompt)
        after: list[int] = self._tokenizer(_AFTER.format(text=text)).input_ids
        return Tokens(self._before, after, [after.index(mark) for mark in self._marks])


def smart_size(height: int, width: int, factor: int, least: int, most: int) -> tuple[int, int]:
    """Return the size in pixels that Qwen2-VL sees a picture in: multiples of ``factor`` near its shape.

    Args:
        height: of the picture.
        width: of the picture.
        factor: of both sides: a patch's side times how many patches are merged.
        least: pixels in all.
        most: pixels in all.

    Source: ``smart_resize`` of qwen-vl-utils 0.0.8 and of transformers.
    """
    high, wide = (max(factor, round(side / factor) * factor) for side in (height, width))
    scale = math.sqrt(height * width / (most if high * wide > most else least))
    if high * wide > most:
        sides = [math.floor(side / scale / factor) * factor for side in (height, width)]
    elif high * wide < least:
        sides = [math.ceil(side / scale / factor) * factor for side in (height, width)]
    else:
        return high, wide
    return sides[0], sides[1]


class QwenPatches(Normalise):
    """Qwen2-VL's preprocessing in tensors: resized (bicubic), normalised, cut into patches.

    Resized pictures are clamped as in files; rounding to 256 steps has no gradient and is left out.

    Args:
        config: of the network that sees.
        least: pixels of a picture that it sees, in all.
        most: the same.
    """

    def __init__(self, config: Any, least: int, most: int) -> None:
        super().__init__(CLIP_MEAN, CLIP_STD)
        self._patch = config.patch_size
        self._merge = config.spatial_merge_size
        self._time = config.temporal_patch_size
        self._pixels = (least, most)

    def reshape(self, frames: Tensor) -> Tensor:
        """Return ``frames`` [..., 3, H, W] in the size that the network takes."""
        high, wide = frames.shape[-2:]
        size = smart_size(high, wide, self._patch * self._merge, *self._pixels)
        return resize(frames, *size, "bicubic").clamp(0, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Return patches [B, T, h, w, 3 * time * patch^2] of videos ``frames`` [B, F, 3, H, W] in [0, 1].

        T is F / time; where that is no whole number the last frame is shown again. Patches of a merged
        block of h x w stand together in the last but one dimensions, as the network wants them flattened.
        """
        seen = super().forward(frames)
        lacking = -seen.shape[1] % self._time
        if lacking:
            seen = torch.cat([seen, seen[:, -1:].expand(-1, lacking, -1, -1, -1)], dim=1)
        batch, count, colours, height, width = seen.shape
        high, wide = height // self._patch, width // self._patch
        merge, patch = self._merge, self._patch
        parts = seen.reshape(
            batch, count // self._time, self._time, colours,
            high // merge, merge, patch, wide // merge, merge, patch,
        )  # fmt: skip
        parts = parts.permute(0, 1, 4, 7, 5, 8, 3, 2, 6, 9)
        return parts.reshape(batch, count // self._time, high, wide, -1)


class QwenScorer(nn.Module):
    """Qwen2-VL with a head that reads the states at the marks.

    Args:
        config: of Qwen2-VL.
        head: takes states [..., D].
    """

    _keep_in_fp32_modules_strict = ("rm_head",)

    def __init__(self, config: Qwen2VLConfig, head: nn.Module) -> None:
        from transformers import Qwen2VLModel

        super().__init__()
        self.model = Qwen2VLModel(config)
        self.rm_head = head

    def forward(self, patches: Tensor, questions: Sequence[Tokens]) -> Tensor:
        """Return what the head makes of each mark [B, marks, N], in float32.

        Args:
            patches: of B videos [B, T, h, w, P].
            questions: B of them.
        """
        seen = self._seen(patches)
        embed = self.model.language_model.embed_tokens
        longest = max(len(question.after) for question in questions)
        rows = []
        for states, question in zip(seen, questions, strict=True):
            # causal: what stands after the last mark changes nothing before it, so that any token may pad
            after = [*question.after, *[0] * (longest - len(question.after))]
            ids = [torch.tensor(part, device=states.device) for part in (question.before, after)]
            rows.append(torch.cat([embed(ids[0]), states, embed(ids[1])]))
        hidden = self.model.language_model(inputs_embeds=torch.stack(rows), use_cache=False).last_hidden_state
        starts = [len(question.before) + seen.shape[1] for question in questions]
        marked = [
            state[[start + mark for mark in question.marks]]
            for state, start, question in zip(hidden, starts, questions, strict=True)
        ]
        head = next(self.rm_head.parameters())
        return self.rm_head(torch.stack(marked).to(head.dtype))  # type: ignore[no-any-return]

    def _seen(self, patches: Tensor) -> Tensor:
        """Return the states of pictures [B, tokens, D]."""
        batch, *grid, _ = patches.shape
        sizes = torch.tensor([grid] * batch, device="cpu")  # its values are read, on ``meta`` too
        flat = patches.flatten(0, 3).to(self.model.visual.patch_embed.proj.weight.dtype)
        states: Tensor = self.model.visual(flat, grid_thw=sizes)
        return states.reshape(batch, -1, states.shape[-1])


class QwenReward(Reward):
    """A reward of such a network; a subclass loads it and says what it sees of a video.

    Args:
        network: frozen.
        patches: preprocessing.
        words: makes tokens of questions.
        source: where the weights come from.
    """

    value_range = (-math.inf, math.inf)

    def __init__(self, network: QwenScorer, patches: QwenPatches, words: Words, source: str) -> None:
        self._network = network
        self._patches = patches
        self._words = words
        self.source = source

    @classmethod
    def reader(cls, **settings: Any) -> PromptReader:
        """Return what refuses prompts that hold marks of the model."""
        del settings
        return refuse_marks

    def modules(self) -> list[nn.Module]:
        """Return the network and its preprocessing."""
        return [self._network, self._patches]


class _BareRotary(nn.Module):
    """Stands for the angles of positions, which transformers does not compute on the device ``meta``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._width = width

    def forward(self, states: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines [3, B, L, width] of ``positions`` [3, B, L], in their form alone."""
        angles = positions[..., None].expand(*positions.shape, self._width).to(states.dtype)
        return angles, angles


def bare_config(base: str, text: str, marks: Sequence[str]) -> Qwen2VLConfig:
    """Return the configuration of the Qwen2-VL ``base`` with rows for ``marks``, where its tokenizer is here.

    Raises:
        UserError: as ``qwen_config`` and ``QwenReader.load``.
    """
    folder = local_folder(base)
    return qwen_config(base, None if folder is None else QwenReader.load(folder, text, marks).size)


def qwen_config(base: str, tokens: int | None = None) -> Qwen2VLConfig:
    """Return the configuration of the Qwen2-VL ``base``, with a table of ``tokens`` where that is said.

    Raises:
        UserError: as ``read_sizes``; or it describes another network.
    """
    from transformers import Qwen2VLConfig

    table = dict(read_sizes(base, {"model": "config.json"})["model"])
    kind = table.pop("model_type", Qwen2VLConfig.model_type)
    if kind != Qwen2VLConfig.model_type:
        raise UserError(base, f"holds a network of type {kind!r}", "give one of type 'qwen2_vl'")
    with told_as_damaged(base):
        config = Qwen2VLConfig(**table)
    if tokens is not None:
        config.text_config.vocab_size = tokens
    config.vision_config.hidden_size = config.text_config.hidden_size
    for part in (config, config.vision_config, config.text_config):
        part._attn_implementation = "sdpa"  # noqa: SLF001 - transformers has no public name for it
    return config


def make_scorer(
    config: Qwen2VLConfig,
    head: Callable[[], nn.Module],
    stored: dict[str, Tensor],
    source: str,
    precision: Precision,
) -> QwenScorer:
    """Return the network of weights ``stored``, by the names of ``plain_names``; see ``make_network``.

    Raises:
        UserError: weights are missing, unknown or mis-shaped.
    """
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    made: QwenScorer = make_network(lambda: QwenScorer(config, head()), stored, source, dtype)
    return made


def bare_scorer(
    config: Qwen2VLConfig, head: Callable[[], nn.Module], precision: Precision, marks: int
) -> tuple[QwenScorer, Words]:
    """Return the network without values, on the default device, and questions of a usual length."""
    question = Tokens([0] * 20, [0] * _TOKENS, [_TOKENS - 10 - mark for mark in range(marks)])
    network = QwenScorer(config, head()).eval().requires_grad_(False)
    width = config.text_config.hidden_size // config.text_config.num_attention_heads
    network.model.language_model.rotary_emb = _BareRotary(width)
    if precision == "bfloat16":
        for weight in lowered(network, torch.bfloat16):
            weight.data = weight.data.to(torch.bfloat16)
    return network, lambda _: question


def plain_names(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return ``stored`` by today's names of transformers, without the output layer, which no score needs.

    Before transformers 4.52 the parts were ``visual`` and ``model``; today they are in ``model``.
    """
    found = {}
    for name, value in stored.items():
        if name.startswith("lm_head."):
            continue
        if name.startswith("visual."):
            name = f"model.{name}"  # noqa: PLW2901 - another name of the same
        elif name.startswith("model.") and not name.startswith(("model.visual.", "model.language_model.")):
            name = f"model.language_model.{name.removeprefix('model.')}"  # noqa: PLW2901
        found[name] = value
    return found
