"""Prompts with pictures that answer them more or less: what preference models learn from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vader_bench.pocket.taste import rate
from vader_bench.pocket.vocabulary import Caption, format_caption, parse_caption
from vader_bench.pocket.world import draw_clip
from vader_bench.pretrain.pictures import corrupt, draw_picture
from vader_bench.pretrain.pool import Piece, Pool

__all__ = ["Options", "draw_options"]

_POOL_SHARE = 0.5
"""Of the pictures beside the first, which is the pool's if there is one."""


class Options(NamedTuple):
    """N prompts with K pictures each."""

    asked: list[Caption]
    prompts: list[str]
    pictures: NDArray[np.float32]
    """[N, K, H, W, 3] in [0, 1]."""
    shown: list[list[Caption]]
    """What each picture shows; words that the oracle could not make out are empty."""
    ratings: NDArray[np.float64]
    """[N, K]."""


def draw_options(rng: np.random.Generator, count: int, each: int, pool: Pool | None = None) -> Options:
    """Draw ``count`` prompts and ``each`` pictures for each: drawings, and frames of ``pool`` where given."""
    asked, pictures, captions = [], [], []
    for _ in range(count):
        caption, chosen = _draw(rng, each, pool)
        asked.append(caption)
        pictures.append(np.stack([picture for picture, _ in chosen]))
        captions.append([what for _, what in chosen])
    stacked = np.stack(pictures)
    ratings = rate(stacked.reshape(-1, *stacked.shape[2:])).reshape(count, each)
    return Options(asked, [format_caption(caption) for caption in asked], stacked, captions, ratings)


def _draw(
    rng: np.random.Generator, each: int, pool: Pool | None
) -> tuple[Caption, list[tuple[NDArray[np.float32], Caption]]]:
    chosen = []
    asked = draw_clip(rng, prop_share=0.0).caption
    if pool is not None:
        frame, piece = pool.frame(rng)
        asked = _wish(rng, piece, asked)
        chosen.append((frame, piece.seen.caption))
    while len(chosen) < each:
        if pool is not None and rng.uniform() < _POOL_SHARE:
            frame, piece = pool.frame(rng)
            chosen.append((frame, piece.seen.caption))
        else:
            caption, _, picture = draw_picture(rng, corrupt(rng, asked))
            chosen.append((picture, caption))
    return asked, chosen


def _wish(rng: np.random.Generator, piece: Piece, other: Caption) -> Caption:
    """Return what is asked where ``piece`` is an answer: its prompt, about what it shows, or ``other``."""
    kind = rng.uniform()
    prompt = parse_caption(piece.prompt)
    if kind < 0.4 and prompt is not None:
        return prompt
    if kind < 0.7 and piece.seen.noun:
        return corrupt(rng, piece.seen.caption)
    return other
