"""What is not as it was built is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.human.manifest import MANIFEST, changed_files, write_manifest

NAMES = ["plan.json", "videos/a.mp4", "videos/b.mp4"]


def test_changed_and_missing_files_are_named_and_others_do_not_matter(tmp_path: Path) -> None:
    for name in NAMES:
        files.write_text(tmp_path / name, name)
    write_manifest(tmp_path, reversed(NAMES))
    assert list(files.read_json(tmp_path / MANIFEST)["sha256"]) == NAMES
    (tmp_path / "notes.txt").touch()
    assert changed_files(tmp_path) == []
    (tmp_path / NAMES[2]).write_text("cut")
    (tmp_path / NAMES[0]).unlink()
    assert changed_files(tmp_path) == [NAMES[0], NAMES[2]]


def test_without_a_manifest_nothing_can_be_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"manifest\.json: does not exist"):
        changed_files(tmp_path)
    with pytest.raises(UserError, match=r"gone: does not exist"):
        write_manifest(tmp_path, ["gone"])


NONE = ["[]", "{}", "3", '{"sha256": []}', '{"sha256": {"../x": "1"}}', '{"sha256": {"/x": "1"}}', "[" * 3000]


@pytest.mark.parametrize("data", NONE)
def test_a_manifest_that_is_none_is_told(tmp_path: Path, data: str) -> None:
    (tmp_path / MANIFEST).write_text(data, "utf-8")
    with pytest.raises(UserError, match=r"manifest\.json"):
        changed_files(tmp_path)
