"""Digests of large files, kept between processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vader_bench import files
from vader_bench.weights import digests, resolve
from vader_bench.weights.resolve import digest


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read; those from 100 bytes on count as large, and none has just been changed."""
    found: list[Path] = []

    def counting(path: Path) -> str:
        found.append(path)
        return files.sha256_file(path)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(resolve, "sha256_file", counting)
    monkeypatch.setattr(resolve, "LARGE", 100)
    monkeypatch.setattr(resolve, "_QUIET", -(10**18))
    return found


def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "_KNOWN", {})


def test_a_large_file_is_read_once_until_it_changes(
    reads: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = tmp_path / "large.bin", tmp_path / "small.bin"
    large.write_bytes(b"a" * 100)
    small.write_bytes(b"a" * 99)
    first = digest(str(large))
    digest(str(small))
    another_process(monkeypatch)
    assert digest(str(large)) == first
    digest(str(small))
    assert reads == [large, small, small]
    another_process(monkeypatch)
    large.write_bytes(b"b" * 100)
    os.utime(large, ns=(1, 1))  # a copy with a wrong time does not go unnoticed
    assert digest(str(large)) != first
    assert reads[3:] == [large]


@pytest.mark.parametrize("text", ["[", "[]", '{"a": 3}', "\x00"])
def test_a_damaged_table_is_no_fault(text: str, reads: list[Path], tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "vader-bench" / "digests.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(text, "utf-8")
    large = tmp_path / "large.bin"
    large.write_bytes(b"a" * 100)
    assert digests.remembered(large, [1]) is None
    digest(str(large))
    assert str(large) in files.read_json(kept)


def test_where_nothing_can_be_kept_files_are_read_again(
    reads: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file in place of the folder", "utf-8")
    large = tmp_path / "large.bin"
    large.write_bytes(b"a" * 100)
    first = digest(str(large))
    another_process(monkeypatch)
    assert digest(str(large)) == first
    assert reads == [large, large]
