"""JPEG compressibility: how little a frame needs on disk."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from vader_bench.rewards.base import Judgement, Reward, StandIn
from vader_bench.rewards.preprocess import check_video

__all__ = ["QUALITY", "JpegCompressibility", "jpeg_kilobytes"]

QUALITY = 95
"""Of Pillow's encoder, as in DDPO."""


def jpeg_kilobytes(frame: Tensor) -> float:
    """Return the size of ``frame`` [3, H, W] in [0, 1] as a JPEG of quality 95, in units of 1000 bytes.

    Values outside [0, 1] are cut off.
    """
    pixels = frame.detach().cpu().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=QUALITY)
    return file.tell() / 1000


class JpegCompressibility(Reward):
    """Minus the size of the frames as JPEG files, averaged over frames; prompts do not matter.

    A black box: no gradient. Methods that need one cannot train on it. Larger frames need more, so compare
    videos of one size. Source: DDPO (arXiv:2305.13301); no weights.
    """

    by_frame = True
    name = "jpeg-compressibility"
    differentiable = False
    units = "minus kB (1000 bytes) a frame at JPEG quality 95"
    value_range = (-math.inf, 0.0)
    source = "Pillow's JPEG encoder; no weights"

    @classmethod
    def skeleton(cls) -> StandIn:
        """Return what costs nothing, as an encoder does: it cannot look at a video without pixels."""
        return StandIn.of(cls, {})

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, F, 3, H, W] in [0, 1]."""
        check_video(self.name, video, prompts)
        sizes = [[jpeg_kilobytes(frame) for frame in frames] for frames in video]
        score = -torch.tensor(sizes, dtype=video.dtype, device=video.device).mean(1)
        return Judgement(score, score)
