"""Styled single frames with captions: what the reward models learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vader_bench.pocket.taste import Style, apply_style, draw_style, style_words
from vader_bench.pocket.vocabulary import COLOURS, NOUNS, SCENES, Caption, format_caption
from vader_bench.pocket.world import FRAMES, draw_clip, render

__all__ = ["IMAGE_MEAN", "IMAGE_STD", "corrupt", "describe", "draw_picture", "normalise"]

IMAGE_MEAN = (0.5, 0.5, 0.5)
IMAGE_STD = (0.5, 0.5, 0.5)


def draw_picture(
    rng: np.random.Generator, caption: Caption | None = None
) -> tuple[Caption, Style, NDArray[np.float32]]:
    """Draw one frame of a clip in a random style: its caption, its style, the picture [H, W, 3]."""
    clip = draw_clip(rng, caption)
    style = draw_style(rng)
    frame = int(rng.integers(FRAMES))
    return clip.caption, style, apply_style(render(clip, [frame]), style, rng)[0]


def describe(rng: np.random.Generator, caption: Caption, style: Style) -> str:
    """Return the caption, half of the time with the words for its style."""
    text = format_caption(caption)
    words = style_words(style)
    return f"{text} {' '.join(words)}" if words and rng.uniform() < 0.5 else text


def corrupt(rng: np.random.Generator, caption: Caption) -> Caption:
    """Return ``caption`` with none, one or two of its colour, noun and scene drawn again."""
    fields = rng.permutation(3)[: int(rng.integers(3))]
    draws = {0: ("colour", COLOURS), 1: ("noun", NOUNS), 2: ("scene", SCENES)}
    changes = {draws[f][0]: draws[f][1][int(rng.integers(len(draws[f][1])))] for f in fields.tolist()}
    return replace(caption, **changes)


def normalise(pictures: NDArray[np.float32]) -> Tensor:
    """Return network input [N, 3, H, W] from pictures [N, H, W, 3] in [0, 1]."""
    mean, std = torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD)
    return ((torch.from_numpy(pictures) - mean) / std).permute(0, 3, 1, 2)
