"""V-JEPA 2: an encoder and a predictor that learn to predict the features of hidden parts of clips."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import VJEPA2Config, VJEPA2Model

from vader_bench.pocket.taste import apply_style, draw_style
from vader_bench.pocket.world import FRAMES, SIZE
from vader_bench.pretrain.clips import REWARD_CLIPS, ROOT_SEED, rendered
from vader_bench.pretrain.export import export_vjepa
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.lesson import Lesson
from vader_bench.pretrain.pictures import normalise
from vader_bench.pretrain.pool import Pool, as_floats
from vader_bench.rewards.vjepa import (
    BLOCKS,
    TemporalConsistency,
    draw_masks,
    encode,
    predict,
    prediction_error,
)
from vader_bench.seeding import numpy_stream, torch_stream

__all__ = ["Jepa", "Ranked", "build", "learn", "rank", "spread", "train"]

_BATCH, _POOLED = 16, 6
"""Clips of a batch, and those of them that are the pool's if it gives any."""
_SOUND = 0.6
"""Agreement with a silhouette sequence from which on a clip of the pool is learnt from."""
_MOMENTUM = 0.995
"""Of the target encoder's moving average."""


def build() -> VJEPA2Model:
    """Return untrained encoder and predictor for clips of 8 frames at 64 x 64: a grid of 8 x 4 x 4.

    A patch lasts one frame, and not two as in the released models: two frames far apart in one patch tell
    more of what is hidden than two neighbours, so that clips out of order would be the easier ones.
    """
    config = VJEPA2Config(
        crop_size=SIZE,
        patch_size=16,
        frames_per_clip=FRAMES,
        tubelet_size=1,
        hidden_size=96,
        num_attention_heads=4,
        num_hidden_layers=4,
        pred_hidden_size=48,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=2,
        pred_num_mask_tokens=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(ROOT_SEED)
        return VJEPA2Model(config)


class Jepa(nn.Module):
    """What is trained, and the moving average that it learns from."""

    def __init__(self, model: VJEPA2Model) -> None:
        super().__init__()
        self.model = model
        self.target = copy.deepcopy(model)
        del self.target.predictor
        self.target.requires_grad_(False)

    @torch.no_grad()
    def follow(self) -> None:
        """Move the target encoder a little towards the encoder."""
        for ours, theirs in zip(
            self.target.encoder.parameters(), self.model.encoder.parameters(), strict=True
        ):
            ours.lerp_(theirs, 1 - _MOMENTUM)

    def loss(self, video: Tensor, stage: str, step: int) -> Tensor:
        """Return V-JEPA's loss on ``video`` [B, F, 3, H, W], normalised; its clips share their masks.

        Masks are those of ``step`` of ``stage``.
        """
        encoder = self.model.encoder
        patches = encoder.embeddings(video)
        with torch.no_grad():
            everything = torch.arange(patches.shape[1])
            features = encode(self.target, self.target.encoder.embeddings(video), everything)
        errors = []
        for kind, blocks in enumerate(BLOCKS):
            generator = torch_stream(ROOT_SEED, f"{stage}-masks", step, kind)
            context, target = draw_masks(_grid(self.model), blocks, generator)
            seen = encode(self.model, patches[:, context], context)
            predicted = predict(self.model, seen, context, target)
            errors.append(prediction_error(predicted, features[:, target]).mean())
        return torch.stack(errors).mean()

    def finished(self) -> VJEPA2Model:
        """Return the predictor with the target encoder, which plays both parts in the reward."""
        whole = copy.deepcopy(self.model)
        whole.encoder.load_state_dict(self.target.encoder.state_dict())
        return whole


def _grid(model: VJEPA2Model) -> tuple[int, int, int]:
    config = model.config
    side = config.crop_size // config.patch_size
    return config.frames_per_clip // config.tubelet_size, side, side


def _inputs(clips: NDArray[np.float32]) -> Tensor:
    """Return network input [N, F, 3, H, W] from clips [N, F, H, W, 3] in [0, 1]."""
    flat = normalise(clips.reshape(-1, *clips.shape[2:]))
    return flat.reshape(*clips.shape[:2], *flat.shape[1:])


def train(
    model: VJEPA2Model, frames: NDArray[np.uint8], pool: Pool, folder: Path, stage: str, steps: int
) -> VJEPA2Model:
    """Train ``model`` on clips ``frames`` [N, F, H, W, 3] in random styles and on sound clips of ``pool``.

    What is kept is returned.
    """
    jepa = Jepa(model)

    def loss(step: int) -> Tensor:
        if step:
            jepa.follow()
        rng = numpy_stream(ROOT_SEED, stage, step)
        drawn = [_drawn(rng, frames) for _ in range(_BATCH - _POOLED)]
        return jepa.loss(_inputs(np.stack([*drawn, *_sound(rng, pool, frames)])), stage, step)

    fit(stage, jepa, loss, folder, steps=steps, learning_rate=1e-3, warmup=200, weight_decay=0.04)
    return jepa.finished()


def _drawn(rng: np.random.Generator, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    return apply_style(as_floats(frames[int(rng.integers(len(frames)))]), draw_style(rng), rng)


def _sound(rng: np.random.Generator, pool: Pool, frames: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    """Yield clips [F, H, W, 3] of ``pool`` in which one actor does one thing, as far as it is drawn.

    What follows from the rest of a clip is to be learnt from clips where something follows. A draw of another
    kind is made up for by a drawn clip.
    """
    for _ in range(_POOLED):
        piece = pool.draw(rng)
        sound = piece.seen.overlap >= _SOUND
        yield as_floats(piece.frames) if sound else _drawn(rng, frames)


def learn(lesson: Lesson) -> None:
    """Do a round."""
    model = VJEPA2Model.from_pretrained(lesson.begin, dtype=torch.float32) if lesson.begin else build()
    frames = rendered("train", REWARD_CLIPS, lesson.work)
    finished = train(model.train(), frames, lesson.pool, lesson.work, lesson.stage, lesson.steps)
    export_vjepa(finished.eval(), lesson.target)


class Spread(NamedTuple):
    """Whether features tell clips apart, or have collapsed."""

    variance: float
    """Of normalised features over clips, at the same place and time: 1 at most, 0 where all are alike."""
    error: float
    """Mean error of the predictions, as in the loss."""
    constant_error: float
    """The same of the best guess that knows only the place: the median feature there."""


@torch.no_grad()
def spread(model: VJEPA2Model, frames: NDArray[np.uint8]) -> Spread:
    """Return how features of clips ``frames`` [N, F, H, W, 3] differ, and how well they are predicted."""
    video = _inputs(frames.astype(np.float32) / 255.0)
    patches = model.encoder.embeddings(video)
    features = encode(model, patches, torch.arange(patches.shape[1]))
    normalised = functional.layer_norm(features, features.shape[-1:])
    guess = normalised.median(dim=0, keepdim=True).values
    errors, constant = [], []
    for kind, blocks in enumerate(BLOCKS):
        generator = torch_stream(ROOT_SEED, "vjepa-masks", "heldout", kind)
        context, target = draw_masks(_grid(model), blocks, generator)
        predicted = predict(model, encode(model, patches[:, context], context), context, target)
        errors.append(prediction_error(predicted, features[:, target]).mean())
        constant.append((guess - normalised)[:, target].abs().mean())
    return Spread(
        variance=normalised.var(dim=0, correction=0).mean().item(),
        error=torch.stack(errors).mean().item(),
        constant_error=torch.stack(constant).mean().item(),
    )


class Ranked(NamedTuple):
    """Share of held-out clips that score higher than what is made of them."""

    shuffled: float
    """Their frames in another order."""
    replaced: float
    """One frame of another clip in place of theirs."""


def rank(reward: TemporalConsistency, frames: NDArray[np.uint8]) -> Ranked:
    """Return how often ``reward`` prefers clips ``frames`` [N, F, H, W, 3] to spoilt ones."""
    real = torch.from_numpy(frames.astype(np.float32) / 255).permute(0, 1, 4, 2, 3)
    shuffled, replaced = real.clone(), real.clone()
    for i in range(len(real)):
        rng = numpy_stream(ROOT_SEED, "vjepa", "spoilt", i)
        order = rng.permutation(real.shape[1])
        while np.array_equal(order, np.arange(real.shape[1])):
            order = rng.permutation(real.shape[1])
        shuffled[i] = real[i, order]
        frame, other = int(rng.integers(real.shape[1])), int(rng.integers(1, len(real)))
        replaced[i, frame] = real[(i + other) % len(real), frame]
    own, *spoilt = (_scored(reward, videos) for videos in (real, shuffled, replaced))
    return Ranked(*((own > scores).float().mean().item() for scores in spoilt))


@torch.no_grad()
def _scored(reward: TemporalConsistency, videos: Tensor) -> Tensor:
    return torch.cat([reward.score(part, [""] * len(part)) for part in videos.split(32)])
