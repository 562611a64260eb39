"""Encoded videos differ in their pictures and in nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.studies import write_clip
from vader_bench.errors import UserError
from vader_bench.human.config import VideoConfig
from vader_bench.human.package.encode import common_shape, encode_alike, spoil
from vader_bench.videos import Pictures, Shape, Video, read_video

ALIKE = Shape(64, 48, 4, Fraction(8))


def decoded(data: bytes) -> Video:
    with av.open(BytesIO(data), "r") as container:
        rate = container.streams.video[0].average_rate
        pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert rate is not None
    return Video(pictures.astype(np.uint8), rate)


def clip(folder: Path, name: str, shade: int = 100, **shape: object) -> Path:
    path = folder / name
    write_clip(path, shade, **shape)  # type: ignore[arg-type]
    return path


def test_a_video_keeps_its_pictures_and_loses_its_origin(tmp_path: Path) -> None:
    path = clip(tmp_path / "secretarm", "0.mp4")
    assert b"secretarm" in path.read_bytes()
    assert b"x264" in path.read_bytes()
    video = read_video(path)
    data = encode_alike(video, video.shape, 18)
    for trace in (b"secretarm", b"x264", b"Lavf", b"Lavc", b"VideoLAN"):
        assert trace not in data
    assert data.index(b"moov") < data.index(b"mdat"), "it starts to play before it is all there"
    again = decoded(data)
    assert again.shape == video.shape == ALIKE
    assert np.abs(again.pictures.astype(int) - video.pictures).mean() < 3
    with av.open(BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert "encoder" not in container.metadata


def test_the_same_pictures_are_the_same_bytes(tmp_path: Path) -> None:
    one, two = (read_video(clip(tmp_path / name, "0.mp4")) for name in ("a", "b"))
    assert encode_alike(one, ALIKE, 18) == encode_alike(two, ALIKE, 18)


def test_size_length_and_speed_become_those_wanted(tmp_path: Path) -> None:
    big = clip(tmp_path, "0.mp4", frames=8, size=(128, 96))
    small = clip(tmp_path, "1.mp4", frames=6)
    videos = [read_video(path) for path in (big, small)]
    wanted = VideoConfig(width=64, height=48, frames=3, frames_per_second=4)
    shape = common_shape(zip((big, small), (video.shape for video in videos), strict=True), wanted)
    assert shape == Shape(64, 48, 3, Fraction(4))
    assert shape.seconds == 0.75
    for video in videos:
        again = decoded(encode_alike(video, shape, 18))
        assert again.shape == shape
        # at half the speed every other frame is shown: the bar of four pixels has moved by eight
        bar = again.pictures[1].mean((0, 2)).argmax() * video.shape.width / 64
        assert abs(bar - 9.5) <= 2


def test_videos_that_differ_are_reported_all_at_once(tmp_path: Path) -> None:
    shapes = [
        (Path("a.mp4"), ALIKE),
        (Path("b.mp4"), ALIKE._replace(width=32)),
        (Path("c.mp4"), ALIKE._replace(rate=Fraction(24))),
        (Path("d.mp4"), ALIKE._replace(frames=5)),
        (Path("e.mp4"), ALIKE._replace(height=32)),
    ]
    with pytest.raises(UserError) as raised:
        common_shape(shapes, VideoConfig())
    lines = str(raised.value).splitlines()
    assert [line.partition(".mp4")[0][-1] for line in lines] == ["b", "c", "d", "e"]
    assert "b.mp4: is 32 wide, others 64; set video.width" in lines[0]


def test_videos_are_not_distorted_or_made_longer() -> None:
    with pytest.raises(UserError, match="would be distorted"):
        common_shape([(Path("a.mp4"), ALIKE)], VideoConfig(width=48))
    with pytest.raises(UserError, match="has 4 frames at that speed, not 5"):
        common_shape([(Path("a.mp4"), ALIKE)], VideoConfig(frames=5))


def test_a_spoiled_copy_is_clearly_worse_and_of_the_same_size(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), np.uint8)
    spoiled = spoil(pictures)
    assert spoiled.shape == pictures.shape
    assert set(np.unique(spoiled)) <= {0, 85, 170, 255}
    assert len(np.unique(spoiled[0].reshape(-1, 3), axis=0)) <= 12
    video = read_video(clip(tmp_path, "0.mp4"))
    assert encode_alike(video, ALIKE, 18, spoiled=True) != encode_alike(video, ALIKE, 18)


def boxes(
    data: bytes, start: int = 0, stop: int | None = None, path: str = ""
) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every box of an MP4 file that holds no others."""
    stop = len(data) if stop is None else stop
    while start < stop:
        size, kind = int.from_bytes(data[start : start + 4]), data[start + 4 : start + 8].decode("latin1")
        if kind in {"moov", "trak", "mdia", "minf", "stbl", "edts"}:
            yield from boxes(data, start + 8, start + size, f"{path}/{kind}")
        else:
            yield f"{path}/{kind}", data[start + 8 : start + size]
        start += size


def films() -> Iterator[Pictures]:
    """Yield sixteen frames: a still, noise, a bar that moves, a cut, a gradient that moves."""
    still = np.full((16, 64, 64, 3), 30, np.uint8)
    yield still
    yield np.random.default_rng(0).integers(0, 256, still.shape, np.uint8)
    bar = np.zeros_like(still)
    for index in range(16):
        bar[index, :, 4 * index : 4 * index + 8] = 255
    yield bar
    yield np.concatenate([bar[:8], 255 - bar[8:]])
    ramp = np.add.outer(np.arange(64), np.arange(64))[..., None].repeat(3, -1) * 2
    yield np.stack([(ramp + 8 * index) % 256 for index in range(16)]).astype(np.uint8)


def test_nothing_in_a_file_but_its_size_tells_what_it_shows() -> None:
    shape = Shape(64, 64, 16, Fraction(8))
    seen = [dict(boxes(encode_alike(Video(film, Fraction(8)), shape, 18))) for film in films()]
    for one in seen[1:]:
        differing = {path.rpartition("/")[2] for path, content in one.items() if seen[0].get(path) != content}
        assert set(one) == set(seen[0])
        assert differing <= {"mdat", "stsz"}, "the pictures and how long each is, and no duration or order"


def test_what_is_no_video_is_reported(tmp_path: Path) -> None:
    (tmp_path / "0.mp4").write_bytes(b"no video at all")
    with pytest.raises(UserError, match="cannot be decoded"):
        read_video(tmp_path / "0.mp4")
