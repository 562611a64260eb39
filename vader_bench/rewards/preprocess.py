"""What stands between a video and a reward's network: shape checks, resizing, normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel, PositiveFloat, ValidationError
from torch import Tensor, nn
from torch.nn import functional

from vader_bench.errors import UserError
from vader_bench.files import read_json

__all__ = [
    "ANY_STATISTICS", "CLIP_MEAN", "CLIP_STD", "CropPreprocess", "HeightPreprocess", "Normalise",
    "Preprocess", "check_video", "read_preprocess", "read_statistics", "resize",
]  # fmt: skip

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Means of red, green and blue that all CLIP models of OpenAI and OpenCLIP were trained with."""
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Their standard deviations."""
ANY_STATISTICS = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Means and standard deviations for estimates, which do not depend on them."""


def check_video(name: str, video: Tensor, prompts: Sequence[str], frames: int | None = None) -> None:
    """Refuse what the reward ``name`` cannot judge.

    Args:
        name: the reward, for messages.
        video: anything that should be [B, F, 3, H, W] and floating.
        prompts: what should be one prompt a video.
        frames: what F must be; ``None`` is any number.

    Raises:
        ValueError: ``video`` has another shape or type, is empty, or has not one prompt a video.
        UserError: the number of frames is not ``frames``.
    """
    if video.ndim != 5 or video.shape[2] != 3 or 0 in video.shape or not video.is_floating_point():
        raise ValueError(f"video must be floating [B, F, 3, H, W], got {video.dtype} {list(video.shape)}")
    if len(prompts) != video.shape[0]:
        raise ValueError(f"{video.shape[0]} videos but {len(prompts)} prompts")
    if frames is not None and video.shape[1] != frames:
        raise UserError(
            f"reward {name!r}",
            f"judges videos of {frames} frames and was given {video.shape[1]}",
            "choose a backbone that makes as many frames, or weights made for them",
        )


def resize(
    pictures: Tensor, height: int, width: int, mode: str = "bilinear", *, antialias: bool = True
) -> Tensor:
    """Return ``pictures`` [..., H, W] as [..., height, width].

    Equal to torch's ``interpolate`` with the same ``mode`` ("bilinear" or "bicubic") and ``antialias``
    (filter where it shrinks), but done by two matrix products: the backward pass of ``interpolate`` has no
    deterministic form on a GPU.
    """
    if pictures.shape[-2] != height:
        pictures = _resize_matrix(pictures, pictures.shape[-2], height, mode, antialias) @ pictures
    if pictures.shape[-1] != width:
        pictures = pictures @ _resize_matrix(pictures, pictures.shape[-1], width, mode, antialias).T
    return pictures


def _resize_matrix(like: Tensor, old: int, new: int, mode: str, antialias: bool) -> Tensor:
    """Return the matrix [new, old] that resizes a column of pixels; each row sums to one."""
    identity = torch.eye(old, dtype=like.dtype, device=like.device)[None, None]
    rows = functional.interpolate(identity, size=(new, old), mode=mode, antialias=antialias)
    return rows[0, 0]


class Normalise(nn.Module):
    """Normalise the channels of pictures.

    Args:
        mean: subtracted from red, green and blue in [0, 1].
        std: what the difference is divided by.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, frames: Tensor) -> Tensor:
        """Return the network's input [..., 3, h, w] for ``frames`` [..., 3, H, W] in [0, 1].

        The result has the precision of ``mean``, which is the network's.
        """
        return (self.reshape(frames.to(self.mean.dtype)) - self.mean) / self.std

    def reshape(self, frames: Tensor) -> Tensor:
        """Return ``frames`` [..., 3, H, W] in the size that the network takes; here as they are."""
        return frames


class Preprocess(Normalise):
    """Squash frames to the square that a network takes and normalise their channels.

    Args:
        size: side of the square, in pixels; frames of that size are not resampled.
        mean: subtracted from red, green and blue in [0, 1].
        std: what the difference is divided by.
    """

    def __init__(self, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(mean, std)
        self.size = size

    def reshape(self, frames: Tensor) -> Tensor:
        """Return ``frames`` [..., 3, H, W] as [..., 3, size, size]."""
        return resize(frames, self.size, self.size)


class CropPreprocess(Preprocess):
    """Bring the short side of frames to the network's, bicubic, and cut the square from the middle.

    Bicubic overshoot outside [0, 1] is kept, as in the VADER code. Pillow rounds to 256 steps between
    resizing and normalising; that step has no gradient and is left out.
    """

    def reshape(self, frames: Tensor) -> Tensor:
        """Return ``frames`` [..., 3, H, W] as [..., 3, size, size]."""
        height, width = frames.shape[-2:]
        short = min(height, width)
        height, width = self.size * height // short, self.size * width // short
        frames = resize(frames, height, width, "bicubic")
        top, left = (height - self.size) // 2, (width - self.size) // 2
        return frames[..., top : top + self.size, left : left + self.size]


class HeightPreprocess(Normalise):
    """Bring frames to one height at their own aspect ratio, bilinear without a filter, and normalise.

    Args:
        height: in pixels; the width W becomes ``height * W // H``.
        mean: subtracted from red, green and blue in [0, 1].
        std: what the difference is divided by.
    """

    def __init__(self, height: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(mean, std)
        self.height = height

    def reshape(self, frames: Tensor) -> Tensor:
        """Return ``frames`` [..., 3, H, W] as [..., 3, height, height * W // H]."""
        width = self.height * frames.shape[-1] // frames.shape[-2]
        return resize(frames, self.height, width, antialias=False)


class _Statistics(BaseModel):
    """The channel statistics in ``preprocessor_config.json``."""

    image_mean: tuple[float, float, float]
    image_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class _Settings(_Statistics):
    """The part of ``preprocessor_config.json`` that is used."""

    size: int | dict[str, int]


S = TypeVar("S", bound=_Statistics)


def read_preprocess(folder: Path, size: int) -> Preprocess:
    """Return the preprocessing that ``preprocessor_config.json`` in ``folder`` describes.

    The aspect ratio is given up rather than a part of the picture, as in the VADER code (arXiv:2407.08737).

    Args:
        folder: of a transformers model.
        size: side of the square that the network takes.

    Raises:
        UserError: the file is missing or faulty, or names another size than the network's.
    """
    path = folder / "preprocessor_config.json"
    settings = _read(path, _Settings, " and size in pixels")
    sides = set(settings.size.values()) if isinstance(settings.size, dict) else {settings.size}
    if sides != {size}:
        raise UserError(str(path), f"size is {settings.size}", f"set it to {size}, which the network takes")
    return Preprocess(size, settings.image_mean, settings.image_std)


def read_statistics(path: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Return mean and standard deviation of the channels, of pictures in [0, 1], from a JSON file.

    Args:
        path: ``preprocessor_config.json`` or ``video_preprocessor_config.json`` of a transformers model.

    Raises:
        UserError: the file is missing or faulty.
    """
    settings = _read(path, _Statistics)
    return settings.image_mean, settings.image_std


def _read(path: Path, kind: type[S], more: str = "") -> S:
    try:
        return kind.model_validate(read_json(path, finite=False))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        remedy = f"give image_mean and image_std as three numbers each{more}"
        raise UserError(str(path), f"{key}: {first['msg']}", remedy) from error
