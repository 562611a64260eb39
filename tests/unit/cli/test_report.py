"""What is printed of a report."""

from __future__ import annotations

from pathlib import Path

from vader_bench.cli._report import file_lines


def test_a_long_name_is_kept_apart_from_its_place() -> None:
    paths = [Path("a/curves.csv"), Path("a/export-pocket-wan.png")]
    assert file_lines(paths) == [
        "curves.csv            a/curves.csv",
        "export-pocket-wan.png a/export-pocket-wan.png",
    ]
    assert file_lines(paths[:1]) == ["curves.csv        a/curves.csv"]
    assert file_lines([]) == []
