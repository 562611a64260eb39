"""Videos are read as they were written, and what is no video is named."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vader_bench.errors import UserError
from vader_bench.videos import Shape, encode_mp4, read_video


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


def decoded(data: bytes) -> NDArray[np.uint8]:
    with av.open(BytesIO(data), "r") as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_a_small_video_is_enlarged_and_keeps_its_colours_and_order() -> None:
    levels = torch.tensor([0.1, 0.5, 0.9])
    video = levels[:, None, None, None].expand(3, 3, 64, 64)
    pictures = decoded(encode_mp4(video))
    assert pictures.shape == (3, 256, 256, 3)
    np.testing.assert_allclose(pictures.mean((1, 2, 3)) / 255, levels.numpy(), atol=0.03)


def test_the_file_plays_in_a_browser() -> None:
    with av.open(BytesIO(encode_mp4(torch.rand(4, 3, 8, 8), frames_per_second=8))) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 8
        assert stream.frames == 4


@pytest.mark.parametrize(("size", "shape"), [((320, 512), (320, 512)), ((9, 301), (8, 300))])
def test_a_large_video_keeps_its_size_up_to_an_even_number(
    size: tuple[int, int], shape: tuple[int, int]
) -> None:
    assert decoded(encode_mp4(torch.rand(1, 3, *size))).shape == (1, *shape, 3)


def test_values_outside_the_range_are_cut() -> None:
    pictures = decoded(encode_mp4(torch.tensor([-3.0, 4.0])[:, None, None, None].expand(2, 3, 16, 16)))
    assert pictures[0].max() <= 3
    assert pictures[1].min() >= 252


@pytest.mark.parametrize("crf", [0, 52])
def test_no_profile_is_made_that_browsers_do_not_play(crf: int) -> None:
    """x264 makes ``High 4:4:4 Predictive`` of 0, which Firefox and Safari refuse."""
    with pytest.raises(ValueError, match=f"crf = {crf} is not from 1 to 51"):
        encode_mp4(torch.zeros(2, 3, 8, 8), crf=crf)
    with av.open(BytesIO(encode_mp4(torch.zeros(2, 3, 8, 8), crf=1))) as container:
        assert container.streams.video[0].profile == "High"


def _stream(size: int, comment: str = "", kind: str = "mpegts") -> bytes:
    buffer = BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        container.metadata["comment"] = comment
        stream = container.add_stream("mpeg2video" if kind == "mpegts" else "mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        for _ in range(3):
            picture = np.full((size, size, 3), 90, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def test_a_video_that_changes_its_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.mp4").write_bytes(_stream(32) + _stream(64))
    with pytest.raises(UserError, match="changes its size on the way"):
        read_video(tmp_path / "0.mp4")


@pytest.mark.parametrize("factor", ["9" * 5000, "0", "-2", "\u0662", "2x", ""])
def test_a_factor_that_is_none_is_passed_over(tmp_path: Path, factor: str) -> None:
    (tmp_path / "0.mp4").write_bytes(_stream(32, f"enlarged {factor}", "mp4"))
    assert read_video(tmp_path / "0.mp4").enlarged == 1
