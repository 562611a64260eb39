"""Pictures decoded tile by tile, which takes the memory of a tile."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["in_tiles", "tile_spans"]

_OVERLAP = 4
"""Neighbours share at least one part in so many of a tile's side, as in the tiled decoding of diffusers."""


def tile_spans(length: int, side: int) -> list[tuple[int, int]]:
    """Return (start, stop) of tiles of ``side`` that cover ``length`` evenly, each overlapping the next."""
    if side >= length:
        return [(0, length)]
    overlap = max(1, side // _OVERLAP)
    steps = math.ceil((length - overlap) / (side - overlap)) - 1
    starts = [index * (length - side) // steps for index in range(steps + 1)]
    return [(start, start + side) for start in starts]


def in_tiles(decode: Callable[[Tensor], Tensor], latents: Tensor, side: int, factor: int) -> Tensor:
    """Return the pictures [B, f, 3, H, W] of ``latents`` [B, C, F, h, w], decoded tile by tile and blended.

    Where a picture depends on its neighbours alone, what is further from a seam than they are is as in the
    whole. A network with attention or norms over the picture sees a tile alone, so that all changes a little.

    Args:
        decode: returns pictures [B, f, 3, ``factor`` y, ``factor`` x] of latents [B, C, F, y, x].
        latents: of whole videos.
        side: of a tile, in latents.
        factor: pixels of a picture for one of the latents, along each side.
    """
    height, width = latents.shape[-2:]
    rows, columns = tile_spans(height, side), tile_spans(width, side)
    if len(rows) == len(columns) == 1:
        return decode(latents)
    down, across = (_ramps(spans, factor) for spans in (rows, columns))
    video = latents.new_zeros(())
    for (top, bottom), vertical in zip(rows, down, strict=True):
        for (left, right), horizontal in zip(columns, across, strict=True):
            tile = decode(latents[..., top:bottom, left:right])
            if video.ndim == 0:
                video = tile.new_zeros(*tile.shape[:-2], factor * height, factor * width)
            share = (vertical[:, None] * horizontal).to(tile)
            place = (..., slice(factor * top, factor * bottom), slice(factor * left, factor * right))
            video[place] += tile * share
    return video


def _ramps(spans: Sequence[tuple[int, int]], factor: int) -> list[Tensor]:
    """Return for each tile its share of its pixels along one side; the shares of a pixel sum to 1."""
    ramps = []
    for start, stop in spans:
        to_start = torch.arange(factor * (stop - start)) + 0.5
        ramps.append(torch.minimum(to_start, to_start.flip(0)))
    total = torch.zeros(factor * spans[-1][1])
    for (start, stop), ramp in zip(spans, ramps, strict=True):
        total[factor * start : factor * stop] += ramp
    return [
        ramp / total[factor * start : factor * stop] for (start, stop), ramp in zip(spans, ramps, strict=True)
    ]
