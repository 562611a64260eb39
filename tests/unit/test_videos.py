"""Videos are read as they were written, and what is no video is named."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from vader_bench.errors import UserError
from vader_bench.evaluation.video import encode_mp4
from vader_bench.videos import Shape, read_video


def test_a_video_comes_back_with_its_size_speed_and_pictures(tmp_path: Path) -> None:
    grey = torch.linspace(0, 1, 4).reshape(4, 1, 1, 1).expand(4, 3, 16, 32)
    (tmp_path / "0.mp4").write_bytes(encode_mp4(grey, frames_per_second=5, side=32))
    video = read_video(tmp_path / "0.mp4")
    assert video.shape == Shape(32, 16, 4, Fraction(5))
    assert video.shape.seconds == 0.8
    assert video.pictures.mean(axis=(1, 2, 3)) == pytest.approx([0, 85, 170, 255], abs=3)


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "0.mp4").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"0\.mp4: cannot be decoded .*; make it again, or delete it"):
        read_video(tmp_path / "0.mp4")
