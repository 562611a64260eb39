"""Temporal consistency: how well V-JEPA 2 predicts the features of hidden parts of a video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vader_bench.config.rules import WeightsName
from vader_bench.errors import UserError
from vader_bench.rewards.base import FramesSeen, Judgement, Reward
from vader_bench.rewards.preprocess import ANY_STATISTICS, Preprocess, check_video, read_statistics
from vader_bench.seeding import torch_stream
from vader_bench.weights.networks import bare_network, load_network
from vader_bench.weights.pipeline_folder import config_whole
from vader_bench.weights.resolve import resolve
from vader_bench.weights.sizes import read_sizes

if TYPE_CHECKING:
    from transformers import VJEPA2Config, VJEPA2Model

__all__ = [
    "BLOCKS", "Blocks", "Masks", "TemporalConsistency", "draw_masks", "encode", "predict",
    "prediction_error",
]  # fmt: skip


class Blocks(NamedTuple):
    """What is hidden: the union of blocks of one size that last the whole video."""

    number: int
    area: float
    """Share of the picture that one block covers."""


BLOCKS = (Blocks(number=8, area=0.15), Blocks(number=2, area=0.7))
"""V-JEPA's two tasks: many small blocks, and few large ones."""
_ASPECT = (0.75, 1.5)
"""Height by width of a block, in patches."""
_TRIES = 1000
_MASK_TOKEN = 0
"""The one that V-JEPA 2 trains for both kinds of masks when all its clips have one length."""


class Masks(NamedTuple):
    """Positions in the grid of patches, numbered by time, row, column; together they are all."""

    context: Tensor
    """What the encoder sees, ascending [C]."""
    target: Tensor
    """What is to be predicted, ascending [T]."""


def draw_masks(grid: tuple[int, int, int], blocks: Blocks, generator: torch.Generator) -> Masks:
    """Draw what is hidden of a video and what is seen.

    The blocks' aspect ratio is uniform, their places are uniform and independent. Draws that hide
    everything are thrown away, as V-JEPA does.

    Args:
        grid: time steps, rows and columns of patches.
        blocks: how many of which size.
        generator: on the CPU.

    Raises:
        UserError: the grid is so small that nothing is ever left to be seen.
    """
    time, rows, columns = grid
    low, high = _ASPECT
    for _ in range(_TRIES):
        aspect = low + (high - low) * torch.rand((), generator=generator).item()
        area = int(rows * columns * blocks.area)
        height = min(max(round(math.sqrt(area * aspect)), 1), rows)
        width = min(max(round(math.sqrt(area / aspect)), 1), columns)
        hidden = torch.zeros(rows, columns, dtype=torch.bool)
        for _ in range(blocks.number):
            top = int(torch.randint(rows - height + 1, (), generator=generator))
            left = int(torch.randint(columns - width + 1, (), generator=generator))
            hidden[top : top + height, left : left + width] = True
        if not hidden.all():
            flat = hidden.expand(time, -1, -1).flatten()
            return Masks((~flat).nonzero()[:, 0], flat.nonzero()[:, 0])
    raise UserError(
        f"a grid of {rows} x {columns} patches",
        f"is wholly hidden by {blocks.number} blocks of {blocks.area:.0%} in each of {_TRIES} draws",
        "give a V-JEPA model with more patches (crop_size / patch_size)",
    )


def prediction_error(predicted: Tensor, features: Tensor) -> Tensor:
    """Return the mean absolute difference [B] of ``predicted`` and normalised ``features``, [B, T, D] each.

    The features of each patch are brought to mean 0 and variance 1 first, as in V-JEPA's training.
    """
    return (predicted - functional.layer_norm(features, features.shape[-1:])).abs().mean((1, 2))


def encode(model: VJEPA2Model, patches: Tensor, positions: Tensor) -> Tensor:
    """Return features [B, N, D] of ``patches`` [B, N, D] at ``positions`` [N], which see only each other.

    ``VJEPA2Model`` itself hides patches after its encoder has seen them.
    """
    where = positions.expand(len(patches), -1)
    for layer in model.encoder.layer:
        patches = layer(patches, where)[0]
    features: Tensor = model.encoder.layernorm(patches)
    return features


def predict(model: VJEPA2Model, features: Tensor, context: Tensor, target: Tensor) -> Tensor:
    """Return predictions [B, T, D] at ``target`` [T] from ``features`` [B, C, D] at ``context`` [C].

    ``VJEPA2Model`` itself always uses mask token 1.
    """
    predictor = model.predictor
    places = [positions.expand(len(features), -1) for positions in (context, target)]
    tokens, where = predictor.embeddings(features, places[:1], places[1:], mask_index=_MASK_TOKEN)
    for layer in predictor.layer:
        tokens = layer(tokens, where)[0]
    predictions: Tensor = predictor.proj(predictor.layernorm(tokens)[:, len(context) :])
    return predictions


class TemporalConsistency(Reward):
    """How well the hidden parts of a video follow from the rest of it; prompts do not matter.

    Score = minus V-JEPA's training loss: the encoder sees the context patches alone, the predictor tells
    the features of the hidden patches, and they are compared (L1) with what the encoder makes of them when
    it sees the whole video, normalised per patch; the mean over V-JEPA's two kinds of masks. At most 0.
    Objective = score.

    Where this differs from training: one encoder plays both parts (the target encoder of training is its
    moving average, and transformers folders hold one); the masks are drawn once, from ``seed``, and are the
    same for every video and every call; and the gradient flows through the target too, because it is the
    score's gradient with respect to the video that is wanted, and frozen networks cannot collapse. A video
    can: a still or plain one is easy to predict and scores high, so watch another measure of motion.
    Frames are squashed to a square. Source: V-JEPA 2 (arXiv:2506.09985, facebook/vjepa2-vitl-fpc64-256, MIT
    licence); the VADER paper (arXiv:2407.08737) trains on this loss of V-JEPA (arXiv:2404.08471), without
    giving its masks.

    Args:
        model: frozen, with its predictor.
        preprocess: turns frames in [0, 1] into what it takes.
        frames: how many a video must have.
        masks: what is hidden and seen, in the grid of so many frames.
        source: where the weights come from, and the masks.
    """

    name = "temporal-consistency"
    units = "negative L1 error of normalised features"
    value_range = (-math.inf, 0.0)

    def __init__(
        self, model: VJEPA2Model, preprocess: Preprocess, frames: int, masks: Sequence[Masks], source: str
    ) -> None:
        self._model = model
        self._preprocess = preprocess
        self.frames = frames
        self._masks = masks
        self.source = source

    @classmethod
    def load(
        cls, model: WeightsName, frames: int | None = None, masks: int = 1, seed: int = 0
    ) -> TemporalConsistency:
        """Return the reward of these weights, frozen, on the CPU.

        Args:
            model: weights of a transformers ``VJEPA2Model`` folder with its predictor and
                ``video_preprocessor_config.json``.
            frames: how many a video must have, a multiple of the model's tubelet; by default the number that
                the model was trained with, 64 in the released ones.
            masks: drawn of each kind; more cost more and say more.
            seed: of the masks.

        Raises:
            UserError: weights are missing or faulty, ``frames`` or ``masks`` does not fit, or the pictures
                have too few patches to hide a part.
        """
        # transformers takes seconds to import, and listing the rewards should not
        from transformers import VJEPA2Model

        folder = resolve(model)
        network = load_network(VJEPA2Model, folder)
        statistics = read_statistics(folder / "video_preprocessor_config.json")
        preprocess = Preprocess(network.config.crop_size, *statistics)
        taken = _frames_taken(network.config, frames)
        source = f"V-JEPA 2 {model}, {masks} masks of each kind from seed {seed}"
        return cls(network, preprocess, taken, _all_masks(network.config, taken, masks, seed), source)

    @classmethod
    def skeleton(
        cls, model: WeightsName, frames: int | None = None, masks: int = 1, seed: int = 0
    ) -> TemporalConsistency:
        """Return the reward without values; what the masks hide is drawn as in a run."""
        from transformers import VJEPA2Model

        network = bare_network(VJEPA2Model, model)
        places = network.predictor.embeddings
        places.forward = partial(_placed, places)
        preprocess = Preprocess(network.config.crop_size, *ANY_STATISTICS)
        taken = _frames_taken(network.config, frames)
        with torch.device("cpu"):
            drawn = _all_masks(network.config, taken, masks, seed)
        return cls(network, preprocess, taken, drawn, f"sizes of {model}")

    @classmethod
    def frames_seen(cls, **settings: Any) -> FramesSeen:
        """Return how many frames the model is given; 64 is the default of transformers."""
        if settings.get("frames") is not None:
            return super().frames_seen(**settings)
        sizes = read_sizes(settings["model"], {"model": "config.json"})["model"]
        return FramesSeen(config_whole(sizes, "frames_per_clip", settings["model"], 64), cls.by_frame)

    def modules(self) -> list[nn.Module]:
        """Return encoder and predictor, and the preprocessing."""
        return [self._model, self._preprocess]

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, frames, 3, H, W] in [0, 1].

        Raises:
            UserError: the videos have another number of frames.
        """
        check_video(self.name, video, prompts, self.frames)
        patches = self._model.encoder.embeddings(self._preprocess(video))
        everything = torch.arange(patches.shape[1], device=patches.device)
        features = encode(self._model, patches, everything)
        errors = []
        for masks in self._masks:
            context, target = (positions.to(patches.device) for positions in masks)
            seen = encode(self._model, patches[:, context], context)
            predicted = predict(self._model, seen, context, target)
            errors.append(prediction_error(predicted, features[:, target]))
        score = -torch.stack(errors).mean(0)
        return Judgement(score, score)


def _frames_taken(config: VJEPA2Config, frames: int | None) -> int:
    """Return how many frames a video must have; arguments and errors as for ``load``."""
    taken: int = config.frames_per_clip if frames is None else frames
    if taken < 1 or taken % config.tubelet_size:
        wrong = f"is no multiple of {config.tubelet_size}, which the model takes at a time"
        raise UserError(f"frames = {taken}", wrong, "choose a multiple of it")
    return taken


def _all_masks(config: VJEPA2Config, frames: int, masks: int, seed: int) -> list[Masks]:
    """Return what is hidden of videos of so many ``frames``; arguments and errors as for ``load``."""
    if masks < 1:
        raise UserError(f"masks = {masks}", "hides nothing", "draw at least 1 of each kind")
    side = config.crop_size // config.patch_size
    grid = (frames // config.tubelet_size, side, side)
    return [
        draw_masks(grid, blocks, torch_stream(seed, "vjepa-masks", kind, i))
        for kind, blocks in enumerate(BLOCKS)
        for i in range(masks)
    ]


def _placed(
    embeddings: nn.Module, features: Tensor, context: list[Tensor], target: list[Tensor], mask_index: int
) -> tuple[Tensor, Tensor]:
    """Return what the predictor's embeddings do, which look into the positions for the largest one."""
    hidden = embeddings.mask_tokens[mask_index].expand(len(features), target[0].shape[1], -1)  # type: ignore[index]
    tokens = torch.cat([embeddings.predictor_embeddings(features), hidden], dim=1)  # type: ignore[operator]
    return tokens, torch.cat([context[0], target[0]], dim=1)
