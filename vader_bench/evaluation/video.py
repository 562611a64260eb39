"""Videos as files that a browser plays."""

from __future__ import annotations

from io import BytesIO

import av
import torch
from torch import Tensor

__all__ = ["encode_mp4"]


def encode_mp4(video: Tensor, *, frames_per_second: int = 8, side: int = 256, crf: int = 18) -> bytes:
    """Return ``video`` [F, 3, H, W] in [0, 1] as an H.264 (yuv420p) MP4 file.

    Args:
        video: one video.
        frames_per_second: how fast it plays.
        side: smaller pictures are enlarged by whole factors, pixel by pixel, as far as their longer
            side stays within this many pixels, so that small models can be looked at.
        crf: x264's quality, 1 to 51; 0 is lossless, in a profile that Firefox and Safari do not play.
    """
    if not 1 <= crf <= 51:
        raise ValueError(f"crf = {crf} is not from 1 to 51")
    factor = max(1, side // max(video.shape[-2:]))
    pixels = (video.clamp(0, 1) * 255).round().to(torch.uint8)
    pixels = pixels.repeat_interleave(factor, -1).repeat_interleave(factor, -2).permute(0, 2, 3, 1)
    height, width = pixels.shape[1] // 2 * 2, pixels.shape[2] // 2 * 2  # yuv420p halves the colour planes
    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=frames_per_second)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(crf), "movflags": "+faststart"}
        for picture in pixels[:, :height, :width].contiguous().cpu().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()
