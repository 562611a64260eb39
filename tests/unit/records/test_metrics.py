"""Metrics are read the same from the file that a run writes and from the packed one of a kept copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from vader_bench.errors import UserError
from vader_bench.records.metrics import read_metrics
from vader_bench.records.packed import pack

TEXT = "".join(f'{{"kind": "step", "queries": {8 * step}}}\n' for step in range(100))


def test_packed_lines_are_the_lines(tmp_path: Path) -> None:
    pack(tmp_path / "packed" / "metrics.jsonl", TEXT.encode())
    (tmp_path / "metrics.jsonl").write_text(TEXT, "utf-8")
    assert [line["queries"] for line in read_metrics(tmp_path / "metrics.jsonl")] == list(range(0, 800, 8))
    assert read_metrics(tmp_path / "packed" / "metrics.jsonl") == read_metrics(tmp_path / "metrics.jsonl")


def test_where_there_are_none_none_are_read(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_a_broken_line_is_named_in_the_file_where_it_is(tmp_path: Path) -> None:
    pack(tmp_path / "metrics.jsonl", b'{"queries": 0}\n{"que\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl\.gz: line 2: is not JSON"):
        read_metrics(tmp_path / "metrics.jsonl")
