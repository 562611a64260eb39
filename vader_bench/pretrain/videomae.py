"""Stage 4: VideoMAE as a classifier of the eight actions."""

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
from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.pictures import normalise
from vader_bench.seeding import numpy_stream

__all__ = ["accuracy", "build", "train"]

_BATCH = 24


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
    folder: Path,
    steps: int,
) -> None:
    """Train ``model`` on ``frames`` [N, F, H, W, 3] in random styles."""
    labels = _labels(clips)

    def loss(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, "videomae", step)
        which = rng.integers(len(frames), size=_BATCH)
        styled = [apply_style(frames[i].astype(np.float32) / 255, draw_style(rng), rng) for i in which]
        return cross_entropy(model(pixel_values=_inputs(np.stack(styled))).logits, labels[which])

    fit("videomae", model, loss, folder, steps=steps, learning_rate=1e-3, weight_decay=0.05)


@torch.no_grad()
def accuracy(model: VideoMAEForVideoClassification, frames: NDArray[np.uint8], clips: list[Clip]) -> float:
    """Return the share of held-out ``frames`` [N, F, H, W, 3] whose action is recognised."""
    hits = [
        model(pixel_values=_inputs(part.astype(np.float32) / 255.0)).logits.argmax(dim=1)
        for part in np.array_split(frames, max(1, len(frames) // 32))
    ]
    return (torch.cat(hits) == _labels(clips)).float().mean().item()
