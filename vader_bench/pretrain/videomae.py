"""VideoMAE as a classifier of the eight actions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import VideoMAEConfig, VideoMAEForVideoClassification

from vader_bench.pocket.taste import apply_style, draw_style
from vader_bench.pocket.vocabulary import ACTIONS
from vader_bench.pocket.world import FRAMES, Clip
from vader_bench.pretrain.clips import REWARD_CLIPS, ROOT_SEED, draw_clips, rendered
from vader_bench.pretrain.export import export_videomae
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.lesson import Lesson
from vader_bench.pretrain.pictures import normalise
from vader_bench.pretrain.pool import CLEAR, Piece, Pool, as_floats
from vader_bench.seeding import numpy_stream

__all__ = ["accuracy", "build", "learn", "train"]

_BATCH, _POOLED = 24, 10
"""Clips of a batch, and those of them that are the pool's."""


def build() -> VideoMAEForVideoClassification:
    """Return an untrained classifier of clips of 8 frames at 64 x 64."""
    config = VideoMAEConfig(
        image_size=64,
        patch_size=16,
        num_frames=FRAMES,
        tubelet_size=2,
        hidden_size=96,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=6,
        use_mean_pooling=True,
        id2label=dict(enumerate(ACTIONS)),
        label2id={action: i for i, action in enumerate(ACTIONS)},
    )
    with torch.random.fork_rng():
        torch.manual_seed(ROOT_SEED)
        return VideoMAEForVideoClassification(config)


def _inputs(clips: NDArray[np.float32]) -> Tensor:
    """Return network input [N, F, 3, H, W] from clips [N, F, H, W, 3] in [0, 1]."""
    flat = normalise(clips.reshape(-1, *clips.shape[2:]))
    return flat.reshape(*clips.shape[:2], *flat.shape[1:])


def _labels(clips: list[Clip]) -> Tensor:
    return torch.tensor([ACTIONS.index(clip.caption.action) for clip in clips])


def train(
    model: VideoMAEForVideoClassification,
    frames: NDArray[np.uint8],
    clips: list[Clip],
    pool: Pool,
    folder: Path,
    stage: str,
    steps: int,
) -> None:
    """Train ``model`` on ``frames`` [N, F, H, W, 3] of ``clips`` in random styles and on ``pool``."""

    def loss(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, stage, step)
        drawn = [_drawn(rng, frames, clips) for _ in range(_BATCH - _POOLED)]
        drawn += [_pooled(pool.draw(rng)) for _ in range(_POOLED)]
        videos, targets = zip(*drawn, strict=True)
        logits = model(pixel_values=_inputs(np.stack(videos))).logits
        return cross_entropy(logits, torch.from_numpy(np.stack(targets)))

    fit(stage, model, loss, folder, steps=steps, learning_rate=1e-3, weight_decay=0.05, ema=0.99)


def _drawn(
    rng: np.random.Generator, frames: NDArray[np.uint8], clips: list[Clip]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw a styled clip [F, H, W, 3] and the share of each action [8] in it."""
    which = int(rng.integers(len(frames)))
    styled = apply_style(as_floats(frames[which]), draw_style(rng), rng)
    return styled, _shares(clips[which].caption.action)


def _pooled(piece: Piece) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a clip of the pool [F, H, W, 3] and the shares of the actions [8] by the oracle's verdict."""
    clear = piece.seen.overlap >= CLEAR
    return as_floats(piece.frames), _shares(piece.seen.action if clear else "")


def _shares(action: str) -> NDArray[np.float32]:
    """Return 1 for ``action``; the same for all where none could be made out."""
    if not action:
        return np.full(len(ACTIONS), 1 / len(ACTIONS), np.float32)
    return np.asarray([float(name == action) for name in ACTIONS], np.float32)


def learn(lesson: Lesson) -> None:
    """Do a round."""
    model = build()
    if lesson.begin:
        model = VideoMAEForVideoClassification.from_pretrained(lesson.begin, dtype=torch.float32)
    clips, frames = draw_clips("train", REWARD_CLIPS), rendered("train", REWARD_CLIPS, lesson.work)
    train(model.train(), frames, clips, lesson.pool, lesson.work, lesson.stage, lesson.steps)
    export_videomae(model.eval(), lesson.target)


@torch.no_grad()
def accuracy(model: VideoMAEForVideoClassification, frames: NDArray[np.uint8], clips: list[Clip]) -> float:
    """Return the share of held-out ``frames`` [N, F, H, W, 3] whose action is recognised."""
    hits = [
        model(pixel_values=_inputs(part.astype(np.float32) / 255.0)).logits.argmax(dim=1)
        for part in np.array_split(frames, max(1, len(frames) // 32))
    ]
    return (torch.cat(hits) == _labels(clips)).float().mean().item()
