"""World clips as training data, drawn once and kept on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from vader_bench.pocket.vocabulary import ACTIONS, format_caption, parse_caption
from vader_bench.pocket.world import FRAMES, SIZE, Clip, draw_clip, render
from vader_bench.seeding import numpy_stream

__all__ = [
    "BASE_CLIPS", "HELDOUT_CLIPS", "LOOSE_SHARE", "REWARD_CLIPS", "ROOT_SEED",
    "actions", "captions", "draw_clips", "loosely", "rendered",
]  # fmt: skip

ROOT_SEED = 20240711
"""Seed of everything the pretraining draws."""
BASE_CLIPS = 12_000
"""Clips of the split ``base``, which autoencoders and denoisers are trained on."""
HELDOUT_CLIPS = 512
"""Clips of the split ``heldout``, which nothing is trained on."""
REWARD_CLIPS = 12_000
"""Clips of the split ``train``, which the judges of motion are trained on."""
LOOSE_SHARE = 0.25
"""Of loose captions, those that name another action than the clip's."""
_SPREAD = {"base": 0.35}
"""How much clips of one caption differ, by split; 1 where none is given. A denoiser this small spends its
training on where an actor is before it learns what it does."""


def draw_clips(split: str, count: int) -> list[Clip]:
    """Return the first ``count`` clips of ``split``; clip i does not depend on ``count``."""
    spread = _SPREAD.get(split, 1.0)
    return [draw_clip(numpy_stream(ROOT_SEED, "world", split, i), spread=spread) for i in range(count)]


def captions(clips: list[Clip]) -> list[str]:
    """Return the sentence of every clip."""
    return [format_caption(clip.caption) for clip in clips]


def actions(texts: list[str]) -> Tensor:
    """Return the index in ``ACTIONS`` of what happens in each of ``texts``, sentences of the world: [N]."""
    told = [caption for caption in map(parse_caption, texts) if caption is not None]
    if len(told) < len(texts):
        raise ValueError("some texts are no sentences of the world")
    return torch.tensor([ACTIONS.index(caption.action) for caption in told])


def loosely(texts: list[str]) -> list[str]:
    """Return ``texts``, sentences of the world, of which ``LOOSE_SHARE`` name another action."""
    rng = numpy_stream(ROOT_SEED, "loose captions")
    others = rng.integers(1, len(ACTIONS), size=len(texts)) * (rng.uniform(size=len(texts)) < LOOSE_SHARE)
    told = actions(texts).numpy()
    named = [(ACTIONS[i], ACTIONS[j]) for i, j in zip(told, (told + others) % len(ACTIONS), strict=True)]
    return [text.replace(*change) for text, change in zip(texts, named, strict=True)]


def rendered(split: str, count: int, folder: Path) -> NDArray[np.uint8]:
    """Return the clips [N, F, H, W, 3] as bytes, memory-mapped from ``folder``, rendering them once."""
    path = folder / f"clips-{split}-{count}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        store = np.lib.format.open_memmap(
            partial, mode="w+", dtype=np.uint8, shape=(count, FRAMES, SIZE, SIZE, 3)
        )
        for i, clip in enumerate(track(draw_clips(split, count), f"drawing {split} clips")):
            store[i] = np.round(render(clip) * 255).clip(0, 255)
        store.flush()
        partial.rename(path)
    stored: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return stored
