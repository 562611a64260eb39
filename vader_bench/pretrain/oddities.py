"""Clips that no good generator makes: mixtures of two, textures, and latents from off the manifold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom
from torch import Tensor

from vader_bench.pocket.world import FRAMES, SIZE, draw_clip, render

__all__ = ["mix", "odd_latents", "texture"]

_Video = NDArray[np.float32]
_TEXTURES: list[Callable[[np.random.Generator], _Video]]


def mix(rng: np.random.Generator) -> _Video:
    """Return a clip [F, H, W, 3] in [0, 1] that is made of two: a blend, a cut in space or a cut in time."""
    one, other = render(draw_clip(rng)), render(draw_clip(rng))
    kind = int(rng.integers(3))
    if kind == 0:
        share = np.float32(rng.uniform(0.2, 0.8))
        return share * one + (1 - share) * other
    if kind == 1:
        top, left = (int(v) for v in rng.integers(SIZE - 16, size=2))
        height, width = (int(v) for v in rng.integers(16, SIZE, size=2))
        one[:, top : top + height, left : left + width] = other[:, top : top + height, left : left + width]
        return one
    first = int(rng.integers(1, FRAMES))
    one[first:] = other[first:]
    return one


def texture(rng: np.random.Generator) -> _Video:
    """Return a clip [F, H, W, 3] in [0, 1] of a texture; half of them lie over a drawn clip in part."""
    video = _TEXTURES[int(rng.integers(len(_TEXTURES)))](rng)
    if rng.uniform() < 0.5:
        return np.clip(video, 0, 1)
    share = np.float32(rng.uniform(0.2, 0.9))
    return np.clip(share * video + (1 - share) * render(draw_clip(rng)), 0, 1)


def _moves(rng: np.random.Generator) -> _Video:
    """Return how far a texture has moved in each frame [F, 1, 1, 1], in radians; half of them stand still."""
    speed = rng.uniform(-1.5, 1.5) if rng.uniform() < 0.5 else 0.0
    moved: _Video = (np.arange(FRAMES, dtype=np.float32) * np.float32(speed)).reshape(-1, 1, 1, 1)
    return moved


def _grating(rng: np.random.Generator) -> _Video:
    angle, waves = rng.uniform(0, np.pi), rng.uniform(1, 20)
    down, across = np.mgrid[:SIZE, :SIZE].astype(np.float32) * np.float32(2 * np.pi * waves / SIZE)
    phase = (np.cos(angle) * across + np.sin(angle) * down)[None, :, :, None] + _moves(rng)
    wave = 0.5 + 0.5 * np.sin(phase)
    if rng.uniform() < 0.5:
        wave = np.round(wave)
    one, other = rng.uniform(size=(2, 3)).astype(np.float32)
    coloured: _Video = (wave * one + (1 - wave) * other).astype(np.float32)
    return coloured


def _patches(rng: np.random.Generator) -> _Video:
    cells = int(rng.integers(1, 17))
    count = FRAMES if rng.uniform() < 0.3 else 1
    colours = rng.uniform(size=(count, cells, cells, 3))
    if rng.uniform() < 0.7:
        colours = np.round(colours)
    across = np.arange(SIZE) * cells // SIZE
    laid = colours[:, across][:, :, across].astype(np.float32)
    return np.broadcast_to(laid, (FRAMES, SIZE, SIZE, 3)).copy()


def _noise(rng: np.random.Generator) -> _Video:
    count = FRAMES if rng.uniform() < 0.5 else 1
    noise = rng.normal(size=(count, SIZE, SIZE, 3))
    width = max(0.0, rng.uniform(-1, 6))
    if width > 0:
        noise = gaussian_filter(noise, (0, width, width, 0))
        noise /= noise.std()
    level, spread = rng.uniform(0.2, 0.8, size=3), rng.uniform(0.05, 0.5)
    return np.broadcast_to(level + spread * noise, (FRAMES, SIZE, SIZE, 3)).astype(np.float32)


def _blobs(rng: np.random.Generator) -> _Video:
    """Return smooth fields with hard edges: what pictures turn into that are raised too far."""
    low = rng.normal(size=(FRAMES if rng.uniform() < 0.3 else 1, *(int(rng.integers(3, 12)),) * 2, 3))
    field = zoom(low, (1, SIZE / low.shape[1], SIZE / low.shape[2], 1), order=3)
    sharp = 1 / (1 + np.exp(-np.clip(field * rng.uniform(1, 12), -50, 50)))
    return np.broadcast_to(sharp, (FRAMES, SIZE, SIZE, 3)).astype(np.float32)


_TEXTURES = [_grating, _patches, _noise, _blobs]


def odd_latents(rng: np.random.Generator, latents: Tensor, others: Tensor) -> Tensor:
    """Return latents [C, F, h, w] from off the manifold of good ones.

    They are good ones scaled, noisy, moved by a constant for each channel, blended with others, or noise
    alone, which differs from frame to frame or does not.

    Args:
        rng: is drawn from.
        latents: good ones, [C, F, h, w].
        others: good ones of another clip, in the same shape.
    """

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.normal(size=shape)).float()

    channels, frames, height, width = latents.shape
    over_time = normal(channels, frames if rng.uniform() < 0.5 else 1, height, width)
    spread = latents.std()
    match int(rng.integers(5)):
        case 0:
            return latents * float(rng.uniform(1.3, 4))
        case 1:
            return latents + over_time * spread * float(rng.uniform(0.2, 1.5))
        case 2:
            return latents + normal(channels, 1, 1, 1) * spread * float(rng.uniform(0.3, 2))
        case 3:
            share = float(rng.uniform(0.3, 0.7))
            return (share * latents + (1 - share) * others) * float(rng.uniform(1, 1.8))
        case _:
            return (over_time * spread * float(rng.uniform(0.5, 3))).expand_as(latents)
