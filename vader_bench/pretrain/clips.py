"""World clips as training data, drawn once and kept on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from vader_bench.pocket.vocabulary import format_caption
from vader_bench.pocket.world import FRAMES, SIZE, Clip, draw_clip, render
from vader_bench.seeding import numpy_stream

__all__ = ["BASE_CLIPS", "HELDOUT_CLIPS", "REWARD_CLIPS", "ROOT_SEED", "captions", "draw_clips", "rendered"]

ROOT_SEED = 20240711
"""Seed of everything the pretraining draws."""
BASE_CLIPS = 12_000
"""Clips of the split ``base``, which autoencoders and denoisers are trained on."""
HELDOUT_CLIPS = 512
"""Clips of the split ``heldout``, which nothing is trained on."""
REWARD_CLIPS = 12_000
"""Clips of the split ``train``, which the judges of motion are trained on."""
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
