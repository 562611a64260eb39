"""A measurement is made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from vader_bench.errors import UserError
from vader_bench.files import read_json, write_text
from vader_bench.records.measurements import MeasurementFolder
from vader_bench.records.record import VideoScore

SCORES = TypeAdapter(list[VideoScore])
FOUND = [VideoScore(prompt="a red cat", sample=0, reward=0.1 + 0.2)]
WHAT = {"prompts": ["a red cat"], "adapter": None}


def never() -> list[VideoScore]:
    raise AssertionError("measured again")


def test_what_was_kept_is_what_was_found(tmp_path: Path) -> None:
    folder = MeasurementFolder(tmp_path / "measurements")
    assert folder.get(WHAT, SCORES, lambda: FOUND) == FOUND
    assert folder.get(dict(reversed(WHAT.items())), SCORES, never) == FOUND
    [path] = (tmp_path / "measurements").iterdir()
    assert read_json(path)["depends_on"] == WHAT  # a reader sees what a digest stands for


def test_whatever_else_it_depends_on_is_measured_again(tmp_path: Path) -> None:
    folder = MeasurementFolder(tmp_path)
    folder.get(WHAT, SCORES, lambda: FOUND)
    with pytest.raises(AssertionError, match="measured again"):
        folder.get(WHAT | {"adapter": "1" * 64}, SCORES, never)


def test_a_file_beside_it_that_is_missing_has_it_made_again(tmp_path: Path) -> None:
    folder, video = MeasurementFolder(tmp_path / "measurements"), tmp_path / "video.mp4"
    folder.get(WHAT, SCORES, lambda: FOUND, [video])
    with pytest.raises(AssertionError, match="measured again"):
        folder.get(WHAT, SCORES, never, [video])
    video.touch()
    assert folder.get(WHAT, SCORES, never, [video]) == FOUND


@pytest.mark.parametrize("text", ["[]", "{}", '{"found": [{"prompt": 1}]}'])
def test_a_damaged_measurement_is_refused(text: str, tmp_path: Path) -> None:
    folder = MeasurementFolder(tmp_path)
    folder.get(WHAT, SCORES, lambda: FOUND)
    [path] = tmp_path.iterdir()
    write_text(path, text)
    with pytest.raises(UserError, match=r"is no measurement .*; delete it to have it measured again"):
        folder.get(WHAT, SCORES, never)
