"""Videos read from files, as pictures. Needs no torch."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from vader_bench.errors import UserError

__all__ = ["Pictures", "Shape", "Video", "read_video"]

Pictures = NDArray[np.uint8]
"""Pictures [F, H, W, 3], RGB, 0 to 255."""


class Shape(NamedTuple):
    """Size, length and speed of a video."""

    width: int
    height: int
    frames: int
    rate: Fraction
    """Frames a second."""

    @property
    def seconds(self) -> float:
        """Return how long a video lasts."""
        return float(self.frames / self.rate)


class Video(NamedTuple):
    """One decoded video."""

    pictures: Pictures
    rate: Fraction

    @property
    def shape(self) -> Shape:
        """Return the size, length and speed."""
        frames, height, width, _ = self.pictures.shape
        return Shape(width, height, frames, self.rate)


def read_video(path: Path) -> Video:
    """Return the video in ``path``.

    Raises:
        UserError: it is not a video, has no frame, or its frame rate is not stated.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError(str(path), "holds no video", "make it again")
            rate = container.streams.video[0].average_rate
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    except av.FFmpegError as error:
        raise UserError(
            str(path), f"cannot be decoded ({error.strerror})", "make it again, or delete it"
        ) from error
    if not pictures or not rate:
        raise UserError(str(path), "holds no frame, or no frame rate", "make it again")
    return Video(np.stack(pictures).astype(np.uint8, copy=False), Fraction(rate))
