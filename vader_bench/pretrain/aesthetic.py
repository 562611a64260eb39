"""The aesthetic reward: a CLIP image tower with an affine head, both trained by regression on ratings.

The released predictor is a head alone, on a frozen CLIP whose embeddings know much of how a picture looks.
The pocket CLIP's know what its captions say: a head on them reaches a correlation of 0.8 with the rating.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize
from transformers import CLIPModel, CLIPTokenizer

from vader_bench.pocket.taste import apply_style, draw_style, rate
from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.export import export_clip, export_head
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.lesson import Lesson
from vader_bench.pretrain.pictures import draw_picture, normalise
from vader_bench.pretrain.pool import Pool
from vader_bench.seeding import numpy_stream, torch_stream

__all__ = ["Rater", "learn", "load", "train"]

_BATCH = 48
_POOL_SHARE = 0.6
_MIDDLE = 5.0
"""Rating that an untrained head begins at."""


class Rater(nn.Module):
    """CLIP with a head; the text tower stays as it is, as a ``CLIPModel`` folder has one.

    Args:
        clip: is trained.
        head: ``weight`` [D] and ``bias`` [1].
    """

    def __init__(self, clip: CLIPModel, head: dict[str, Tensor]) -> None:
        super().__init__()
        self.clip = clip
        self.weight = nn.Parameter(head["weight"].clone())
        self.bias = nn.Parameter(head["bias"].clone())
        clip.text_model.requires_grad_(False)
        clip.text_projection.requires_grad_(False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the ratings [N] of network inputs [N, 3, H, W]."""
        embeddings = normalize(self.clip.get_image_features(pixel_values=inputs), dim=-1)
        rating: Tensor = embeddings @ self.weight + self.bias
        return rating

    def head(self) -> dict[str, Tensor]:
        """Return ``weight`` [D] and ``bias`` [1]."""
        return {"weight": self.weight.detach().clone(), "bias": self.bias.detach().clone()}


def begin(clip: CLIPModel) -> Rater:
    """Return ``clip`` with a head that was drawn."""
    width = clip.config.projection_dim
    weight = torch.randn(width, generator=torch_stream(ROOT_SEED, "aesthetic", "head"))
    return Rater(clip, {"weight": weight, "bias": torch.tensor([_MIDDLE])})


def load(folder: Path) -> Rater:
    """Return what ``learn`` wrote to ``folder``."""
    clip = CLIPModel.from_pretrained(folder, dtype=torch.float32)
    return Rater(clip, load_file(folder / "head.safetensors"))


def train(rater: Rater, pool: Pool, folder: Path, stage: str, steps: int) -> None:
    """Train ``rater`` on fresh drawings and frames of ``pool``, and their ratings."""

    def loss(step: int) -> Tensor:
        rng = numpy_stream(ROOT_SEED, stage, step)
        pictures = np.stack([_draw(rng, pool) for _ in range(_BATCH)])
        ratings = torch.from_numpy(rate(pictures)).float()
        return mse_loss(rater(normalise(pictures)), ratings)

    fit(stage, rater, loss, folder, steps=steps, learning_rate=5e-4, ema=0.99)


def _draw(rng: np.random.Generator, pool: Pool) -> NDArray[np.float32]:
    """Return a drawing [H, W, 3], or a frame of ``pool``, in a random style half of the time."""
    if rng.uniform() >= _POOL_SHARE:
        return draw_picture(rng)[2]
    frame, _ = pool.frame(rng)
    return apply_style(frame[None], draw_style(rng), rng)[0] if rng.uniform() < 0.5 else frame


def learn(lesson: Lesson) -> None:
    """Do a round."""
    begun = load(lesson.begin) if lesson.begin else begin(_clip(lesson.clip))
    train(begun.train(), lesson.pool, lesson.work, lesson.stage, lesson.steps)
    export_clip(begun.clip.eval(), CLIPTokenizer.from_pretrained(lesson.clip), lesson.target)
    export_head(begun.head(), lesson.target)


def _clip(folder: Path) -> CLIPModel:
    model: CLIPModel = CLIPModel.from_pretrained(folder, dtype=torch.float32)
    return model
