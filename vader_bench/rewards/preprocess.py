"""What stands between a video and a reward's network: shape checks, resizing, normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, PositiveFloat, ValidationError
from torch import Tensor, nn
from torch.nn import functional

from vader_bench.errors import UserError
from vader_bench.files import read_json

__all__ = ["Preprocess", "check_video", "read_preprocess", "resize"]


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


def resize(pictures: Tensor, height: int, width: int) -> Tensor:
    """Return ``pictures`` [..., H, W] as [..., height, width]: bilinear, antialiased where it shrinks.

    Equal to torch's antialiased ``interpolate``, but done by two matrix products: the backward pass of
    ``interpolate`` has no deterministic form on a GPU.
    """
    if pictures.shape[-2] != height:
        pictures = _resize_matrix(pictures, pictures.shape[-2], height) @ pictures
    if pictures.shape[-1] != width:
        pictures = pictures @ _resize_matrix(pictures, pictures.shape[-1], width).T
    return pictures


def _resize_matrix(like: Tensor, old: int, new: int) -> Tensor:
    """Return the matrix [new, old] that resizes a column of pixels; each row sums to one."""
    identity = torch.eye(old, dtype=like.dtype, device=like.device)[None, None]
    rows = functional.interpolate(identity, size=(new, old), mode="bilinear", antialias=True)
    return rows[0, 0]


class Preprocess(nn.Module):
    """Squash frames to the square that a network takes and normalise their channels.

    Args:
        size: side of the square, in pixels; frames of that size are not resampled.
        mean: subtracted from red, green and blue in [0, 1].
        std: what the difference is divided by.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, frames: Tensor) -> Tensor:
        """Return the network's input [..., 3, size, size] for ``frames`` [..., 3, H, W] in [0, 1].

        The result has the precision of ``mean``, which is the network's.
        """
        return (resize(frames.to(self.mean.dtype), self.size, self.size) - self.mean) / self.std


class _Settings(BaseModel):
    """The part of ``preprocessor_config.json`` that is used."""

    image_mean: tuple[float, float, float]
    image_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    size: int | dict[str, int]


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
    try:
        settings = _Settings.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        remedy = "give image_mean and image_std as three numbers each and size in pixels"
        raise UserError(str(path), f"{key}: {first['msg']}", remedy) from error
    sides = set(settings.size.values()) if isinstance(settings.size, dict) else {settings.size}
    if sides != {size}:
        raise UserError(str(path), f"size is {settings.size}", f"set it to {size}, which the network takes")
    return Preprocess(size, settings.image_mean, settings.image_std)
