"""Videos as files: written so that a browser plays them, and read as pictures. Imports no torch."""

from __future__ import annotations

import re
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from vader_bench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Pictures", "Shape", "Video", "encode_mp4", "read_video"]

_ENLARGED = "enlarged "
"""Before the factor, in the comment of a file whose small pictures were enlarged."""
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
    enlarged: int = 1
    """The factor that the file says it was enlarged by, pixel by pixel, to be looked at."""

    @property
    def native(self) -> Pictures:
        """Return the pictures as they were before they were enlarged."""
        frames, height, width, colours = self.pictures.shape
        factor = self.enlarged
        blocks = self.pictures.reshape(frames, height // factor, factor, width // factor, factor, colours)
        return blocks.mean((2, 4)).round().astype(np.uint8) if factor > 1 else self.pictures

    @property
    def shape(self) -> Shape:
        """Return the size, length and speed."""
        frames, height, width, _ = self.pictures.shape
        return Shape(width, height, frames, self.rate)


def encode_mp4(video: Tensor, *, frames_per_second: int = 8, side: int = 256, crf: int = 18) -> bytes:
    """Return ``video`` [F, 3, H, W] in [0, 1] as an H.264 (yuv420p) MP4 file.

    Args:
        video: one video.
        frames_per_second: how fast it plays.
        side: smaller pictures are enlarged by whole factors, pixel by pixel, as far as their longer
            side stays within this many pixels, so that small models can be looked at. The file says by
            how much, and ``Video.native`` undoes it.
        crf: x264's quality, 1 to 51; 0 is lossless, in a profile that Firefox and Safari do not play.
    """
    if not 1 <= crf <= 51:
        raise ValueError(f"crf = {crf} is not from 1 to 51")
    factor = max(1, side // max(video.shape[-2:]))
    pixels = (video.clamp(0, 1) * 255).round().byte()
    pixels = pixels.repeat_interleave(factor, -1).repeat_interleave(factor, -2).permute(0, 2, 3, 1)
    height, width = pixels.shape[1] // 2 * 2, pixels.shape[2] // 2 * 2  # yuv420p halves the colour planes
    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        if factor > 1:
            container.metadata["comment"] = f"{_ENLARGED}{factor}"
        stream = container.add_stream("libx264", rate=frames_per_second)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(crf), "movflags": "+faststart"}
        for picture in pixels[:, :height, :width].contiguous().cpu().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


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
            comment = container.metadata.get("comment", "")
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    except av.FFmpegError as error:
        raise UserError(
            str(path), f"cannot be decoded ({error.strerror})", "make it again, or delete it"
        ) from error
    except ValueError as error:  # PyAV, of headers that say what no video has
        raise UserError(str(path), "cannot be decoded", "make it again, or delete it") from error
    if not pictures or not rate:
        raise UserError(str(path), "holds no frame, or no frame rate", "make it again")
    if len({picture.shape for picture in pictures}) > 1:
        raise UserError(str(path), "changes its size on the way", "make it again with one size")
    found = np.stack(pictures).astype(np.uint8, copy=False)
    return Video(found, Fraction(rate), _factor(comment, found))


def _factor(comment: str, pictures: Pictures) -> int:
    """Return the factor of enlargement that a file's ``comment`` tells, where its size agrees."""
    said, _, factor = comment.partition(" ")
    told = int(factor) if f"{said} " == _ENLARGED and re.fullmatch("[0-9]{1,4}", factor) else 1
    fits = told > 0 and all(side % told == 0 for side in pictures.shape[1:3])
    return told if fits else 1
