"""Image rewards built on CLIP: the aesthetic rating and the human preference score.

Both judge every frame they are given and average over the frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vader_bench.config.rules import WeightsName
from vader_bench.errors import UserError
from vader_bench.rewards.base import Judgement, Reward
from vader_bench.rewards.preprocess import (
    ANY_STATISTICS,
    CLIP_MEAN,
    CLIP_STD,
    Preprocess,
    check_video,
    read_preprocess,
)
from vader_bench.weights.networks import bare_network, load_network
from vader_bench.weights.open_clip import load_open_clip
from vader_bench.weights.resolve import resolve
from vader_bench.weights.tensors import read_tensors
from vader_bench.weights.tokenizers import read_tokenizer

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPTokenizer

__all__ = [
    "Aesthetic", "AestheticHead", "ClipReward", "HumanPreference", "PromptedClipReward", "bare_clip",
    "cosine", "load_clip", "load_clip_tokenizer", "no_words", "read_head",
]  # fmt: skip

_LAION_LAYERS = (0, 2, 4, 6, 7)
_VERSION_1 = ((1, 512), (1, 768))
"""Shapes of the one layer of version 1, for the CLIPs that it was trained on."""
_LAION_KEYS = {f"layers.{i}.{kind}" for i in _LAION_LAYERS for kind in ("weight", "bias")}


class AestheticHead(nn.Module):
    """An affine function of the direction of a CLIP image embedding.

    Args:
        weight: [D].
        bias: [1].
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return ratings [...] of ``embeddings`` [..., D] of any length."""
        return functional.normalize(embeddings, dim=-1) @ self.weight + self.bias

    def bounds(self) -> tuple[float, float]:
        """Return the smallest and the largest rating that an embedding can get."""
        length, middle = self.weight.norm().item(), self.bias.item()
        return middle - length, middle + length


def read_head(path: Path) -> AestheticHead:
    """Return the aesthetic head in ``path``, float32, on the CPU.

    Args:
        path: a safetensors file with ``weight`` [D] and ``bias`` [1], or the file
            ``sac+logos+ava1-l14-linearMSE.pth`` of the LAION aesthetic predictor V2
            (https://github.com/christophschuhmann/improved-aesthetic-predictor, Apache-2.0), whose five
            layers have no activations between them, so they are one affine function and are folded
            into it; or ``sa_0_4_vit_l_14_linear.pth`` of version 1
            (https://github.com/LAION-AI/aesthetic-predictor, MIT), which is one linear layer.

    Raises:
        UserError: the file is none of them.
    """
    remedy = (
        "give a safetensors file with `weight` [D] and `bias` [1], or the LAION predictor V2 (.pth) or V1"
    )
    tensors = read_tensors(path, remedy)
    if set(tensors) == _LAION_KEYS:
        tensors = _fold(tensors)
    if set(tensors) != {"weight", "bias"}:
        raise UserError(str(path), "is not an aesthetic head", remedy)
    weight, bias = tensors["weight"].float(), tensors["bias"].float()
    if weight.shape in _VERSION_1:
        weight = weight[0]
    if weight.ndim != 1 or bias.shape != (1,):
        wrong = f"has weight {list(weight.shape)} and bias {list(bias.shape)}"
        raise UserError(str(path), wrong, remedy)
    return AestheticHead(weight, bias)


def _fold(layers: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the one affine function that the LAION layers make, computed in float64."""
    weight, bias = layers["layers.0.weight"].double(), layers["layers.0.bias"].double()
    for i in _LAION_LAYERS[1:]:
        following = layers[f"layers.{i}.weight"].double()
        weight = following @ weight
        bias = following @ bias + layers[f"layers.{i}.bias"].double()
    return {"weight": weight[0], "bias": bias}


def cosine(image: Tensor, text: Tensor) -> Tensor:
    """Return the cosines [...] of each image embedding [..., D] with its own text embedding [..., D]."""
    return (functional.normalize(image, dim=-1) * functional.normalize(text, dim=-1)).sum(-1)


class ClipReward(Reward):
    """What all rewards built on CLIP share.

    Args:
        clip: frozen.
        preprocess: turns frames in [0, 1] into what the image tower takes.
        source: where the weights come from.
    """

    by_frame = True

    def __init__(self, clip: CLIPModel, preprocess: Preprocess, source: str) -> None:
        self._clip = clip
        self._preprocess = preprocess
        self.source = source

    def modules(self) -> list[nn.Module]:
        """Return CLIP and its preprocessing."""
        return [self._clip, self._preprocess]

    def _embed(self, video: Tensor) -> Tensor:
        """Return image embeddings [B, F, D], of any length."""
        embeddings: Tensor = self._clip.get_image_features(self._preprocess(video.flatten(0, 1)))
        return embeddings.reshape(*video.shape[:2], -1)


class PromptedClipReward(ClipReward):
    """What rewards share that compare frames with their prompt.

    Args:
        clip: frozen.
        preprocess: turns frames in [0, 1] into what the image tower takes.
        tokenizer: makes the tokens [B, L] of B prompts, under the key ``input_ids``.
        source: where the weights come from.
    """

    def __init__(
        self,
        clip: CLIPModel,
        preprocess: Preprocess,
        tokenizer: Callable[..., Mapping[str, Any]],
        source: str,
    ) -> None:
        super().__init__(clip, preprocess, source)
        self._tokenizer = tokenizer

    @torch.no_grad()
    def _embed_text(self, prompts: Sequence[str]) -> Tensor:
        """Return text embeddings [B, D], of any length.

        They are padded to full length, so that the work does not depend on the prompts; the causal mask
        keeps the padding, which comes after the end token, out of the result.
        """
        tokens = self._tokenizer(
            list(prompts),
            padding="max_length",
            truncation=True,
            max_length=self._clip.config.text_config.max_position_embeddings,
            return_tensors="pt",
        )
        embeddings: Tensor = self._clip.get_text_features(tokens["input_ids"].to(self._clip.device))
        return embeddings


def load_clip(folder: Path) -> CLIPModel:
    """Return the frozen ``CLIPModel`` in ``folder``; see ``load_network``."""
    # transformers takes seconds to import, and listing the rewards should not
    from transformers import CLIPModel

    clip: CLIPModel = load_network(CLIPModel, folder)
    return clip


def bare_clip(weights: str) -> CLIPModel:
    """Return the ``CLIPModel`` called ``weights`` without values; see ``bare_network``."""
    from transformers import CLIPModel

    clip: CLIPModel = bare_network(CLIPModel, weights)
    return clip


def no_words(prompts: list[str], *, max_length: int, **_: object) -> dict[str, Tensor]:
    """Return tokens [B, max_length] as a tokenizer does, for estimates: what they are does not matter."""
    return {"input_ids": torch.zeros(len(prompts), max_length, dtype=torch.long)}


class Aesthetic(ClipReward):
    """How good people would find the pictures, by the LAION aesthetic predictor; prompts do not matter.

    Rating = weight . e + bias for the unit-length CLIP image embedding e, averaged over frames. The
    heads are trained on human ratings from 1 to 10; ratings outside are possible, within
    |weight| of the bias. Source: LAION aesthetic predictor V2, with openai/clip-vit-large-patch14 (MIT
    licence); the VADER paper (arXiv:2407.08737) trains on it.

    Args:
        clip: frozen; only the image tower is kept.
        preprocess: turns frames in [0, 1] into what it takes.
        head: of the width of its embeddings.
        value_range: of the head's ratings.
        source: where the weights come from.
    """

    name = "aesthetic"
    units = "aesthetic rating, about 1 to 10"

    def __init__(
        self,
        clip: CLIPModel,
        preprocess: Preprocess,
        head: AestheticHead,
        value_range: tuple[float, float],
        source: str,
    ) -> None:
        super().__init__(clip, preprocess, source)
        del self._clip.text_model, self._clip.text_projection
        self._head = head
        self.value_range = value_range

    @classmethod
    def load(cls, clip: WeightsName, head: WeightsName) -> Aesthetic:
        """Return the reward of these weights, frozen, on the CPU.

        Args:
            clip: weights of a transformers ``CLIPModel`` folder.
            head: weights file for ``read_head``.

        Raises:
            UserError: weights are missing or faulty, or the head is made for another CLIP.
        """
        folder = resolve(clip)
        model = load_clip(folder)
        preprocess = read_preprocess(folder, model.config.vision_config.image_size)
        found = read_head(resolve(head))
        given, wanted = found.weight.shape[0], model.config.projection_dim
        if given != wanted:
            raise UserError(
                f"aesthetic head {head!r}",
                f"is made for embeddings of width {given}, and {clip!r} has {wanted}",
                "give the head that was trained on this CLIP",
            )
        return cls(model, preprocess, found, found.bounds(), f"CLIP image tower {clip}, head {head}")

    @classmethod
    def skeleton(cls, clip: WeightsName, head: WeightsName) -> Aesthetic:
        """Return the reward without values; the head's size follows from that of ``clip``."""
        model = bare_clip(clip)
        preprocess = Preprocess(model.config.vision_config.image_size, *ANY_STATISTICS)
        bare = AestheticHead(torch.zeros(model.config.projection_dim), torch.zeros(1))
        return cls(model, preprocess, bare, (-math.inf, math.inf), f"sizes of {clip}, head {head}")

    def modules(self) -> list[nn.Module]:
        """Return CLIP, its preprocessing and the head."""
        return [*super().modules(), self._head]

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, F, 3, H, W] in [0, 1]."""
        check_video(self.name, video, prompts)
        rating: Tensor = self._head(self._embed(video)).mean(1)
        return Judgement(rating, rating)


class HumanPreference(PromptedClipReward):
    """How well the pictures meet their prompt in people's eyes: a CLIP tuned on human choices.

    Score = cosine of image and text embedding, averaged over frames, without a logit scale; from -1 to 1,
    with the released models about 0.2 to 0.35. Source: Human Preference Score v2 (arXiv:2306.09341,
    weights under Apache-2.0). Prompts longer than the text tower takes are cut, as that code does.
    """

    name = "hps"
    units = "cosine similarity"
    value_range = (-1.0, 1.0)

    @classmethod
    def load(cls, model: WeightsName, tokenizer: WeightsName | None = None) -> HumanPreference:
        """Return the reward of these weights, frozen, on the CPU.

        Args:
            model: weights of a transformers ``CLIPModel`` folder, or one of the released files
                ``HPS_v2_compressed.pt`` and ``HPS_v2.1_compressed.pt`` (https://huggingface.co/xswu/HPSv2).
            tokenizer: folder with ``vocab.json`` and ``merges.txt``; a file needs it (that of
                laion/CLIP-ViT-H-14-laion2B-s32B-b79K), a folder has its own.

        Raises:
            UserError: weights are missing or faulty, or the tokenizer is missing or not this model's.
        """
        path = resolve(model)
        if path.is_file() and tokenizer is None:
            remedy = "set `tokenizer` to a folder with the vocab.json and merges.txt of CLIP ViT-H-14"
            raise UserError(f"hps model {model!r}", "is a file, which has no tokenizer", remedy)
        clip = load_open_clip(path) if path.is_file() else load_clip(path)
        size = clip.config.vision_config.image_size
        preprocess = Preprocess(size, CLIP_MEAN, CLIP_STD) if path.is_file() else read_preprocess(path, size)
        words = load_clip_tokenizer(resolve(tokenizer) if tokenizer else path, clip)
        return cls(clip, preprocess, words, f"CLIP {model}")

    @classmethod
    def skeleton(cls, model: WeightsName, tokenizer: WeightsName | None = None) -> HumanPreference:
        """Return the reward without values; no tokenizer is needed."""
        del tokenizer
        clip = bare_clip(model)
        preprocess = Preprocess(clip.config.vision_config.image_size, *ANY_STATISTICS)
        return cls(clip, preprocess, no_words, f"sizes of {model}")

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, F, 3, H, W] in [0, 1], one prompt a video."""
        check_video(self.name, video, prompts)
        score = cosine(self._embed(video), self._embed_text(prompts)[:, None]).mean(1)
        return Judgement(score, score)


def load_clip_tokenizer(folder: Path, clip: CLIPModel) -> CLIPTokenizer:
    """Return the tokenizer in ``folder``, after checking that ``clip`` will find its end token.

    CLIP reads a sentence at its end token. A config that names another one makes it read every sentence
    at the same wrong place, without an error. Old configs say 2 and mean the highest token.

    Raises:
        UserError: a file is missing or faulty, or the tokenizer is not this model's.
    """
    from transformers import CLIPTokenizer

    for name in ("vocab.json", "merges.txt"):
        if not (folder / name).is_file():
            remedy = "copy the files of the CLIPTokenizer that belongs to the model there"
            raise UserError(str(folder), f"has no {name}", remedy)
    tokenizer: CLIPTokenizer = read_tokenizer(folder, CLIPTokenizer)
    said = clip.config.text_config.eos_token_id
    end = len(tokenizer) - 1 if said == 2 else said
    if tokenizer.eos_token_id != end:
        raise UserError(
            str(folder),
            f"the tokenizer ends sentences with token {tokenizer.eos_token_id}, the model looks for {end}",
            "give the tokenizer that the model was trained with",
        )
    return tokenizer
