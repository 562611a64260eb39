from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.support.results import Invented, write_results
from vader_bench.errors import UserError
from vader_bench.report import load_results
from vader_bench.report.contact_sheet import FRAMES, GAP, SIDE, contact_sheet
from vader_bench.videos import encode_mp4

WORLD = Invented(rewards=("red",), methods=("vader",), seeds=(0,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_results(tmp_path, WORLD)


def put_video(folder: Path, run: str, index: int, red: float) -> None:
    video = torch.zeros(8, 3, 16, 16)
    video[:, 0] = red
    path = folder / "runs" / run / "samples" / f"heldout-{index}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_mp4(video))


def test_there_is_no_sheet_without_videos(folder: Path) -> None:
    assert contact_sheet(load_results(folder)) is None


def test_frames_lie_side_by_side_arm_by_arm(folder: Path) -> None:
    put_video(folder, "base-red-seed0", 0, 0.0)
    put_video(folder, "vader-red-seed0", 0, 1.0)
    results = load_results(folder)
    sheet = contact_sheet(results)
    assert sheet is not None
    assert sheet == contact_sheet(results)
    picture = Image.open(BytesIO(sheet))
    assert picture.width == GAP + 2 * (FRAMES * SIDE + GAP)
    middle = 2 * (12 + 6) + GAP + SIDE // 2
    base = picture.getpixel((GAP + SIDE // 2, middle))
    trained = picture.getpixel((2 * GAP + FRAMES * SIDE + 3 * SIDE // 2, middle))
    assert isinstance(base, tuple)
    assert isinstance(trained, tuple)
    assert max(base) < 30
    assert trained[0] > 200
    assert max(trained[1:]) < 40


def test_a_missing_video_is_a_grey_field(folder: Path) -> None:
    put_video(folder, "vader-red-seed0", 0, 1.0)
    sheet = contact_sheet(load_results(folder))
    assert sheet is not None
    picture = Image.open(BytesIO(sheet))
    assert picture.getpixel((GAP + SIDE // 2, 2 * (12 + 6) + GAP + SIDE // 2)) == (220, 223, 228)


def test_a_file_that_is_no_video_is_named(folder: Path) -> None:
    put_video(folder, "vader-red-seed0", 0, 1.0)
    path = folder / "runs" / "vader-red-seed0" / "samples" / "heldout-0.mp4"
    path.write_bytes(b"not a video")
    with pytest.raises(UserError, match=r"heldout-0.mp4: cannot be decoded .*; make it again, or delete it"):
        contact_sheet(load_results(folder))
