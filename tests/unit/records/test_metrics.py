"""Metrics are read the same from the file that a run writes and from the packed one of a kept copy."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from vader_bench.errors import UserError
from vader_bench.records import metrics
from vader_bench.records.metrics import metrics_file, pack_metrics, read_metrics

TEXT = "".join(f'{{"kind": "step", "queries": {8 * step}}}\n' for step in range(100))


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "metrics.jsonl"
    path.parent.mkdir()
    path.write_text(TEXT, "utf-8")
    return path


@pytest.fixture
def packed(plain: Path, tmp_path: Path) -> Path:
    """The name under which a run looks for its metrics, where only the packed ones are."""
    pack_metrics(plain, tmp_path / "copy")
    return tmp_path / "copy" / "metrics.jsonl"


def test_the_lines_are_the_same_in_a_fraction_of_the_bytes(plain: Path, packed: Path) -> None:
    assert [line["queries"] for line in read_metrics(packed)] == list(range(0, 800, 8))
    assert read_metrics(packed) == read_metrics(plain)
    assert metrics_file(packed).stat().st_size < plain.stat().st_size / 4


def test_packed_again_it_is_the_same_file(plain: Path, packed: Path, tmp_path: Path) -> None:
    pack_metrics(plain, tmp_path / "again")
    assert (tmp_path / "again" / "metrics.jsonl.gz").read_bytes() == metrics_file(packed).read_bytes()


def test_what_a_run_writes_goes_before_what_is_packed(packed: Path) -> None:
    packed.write_text('{"kind": "step", "queries": 1}\n', "utf-8")
    assert [line["queries"] for line in read_metrics(packed)] == [1]


def test_where_there_are_none_none_are_read(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []


PACKED = gzip.compress(TEXT.encode(), mtime=0)
DAMAGED = {
    "no gzip": b"no gzip",
    "cut short": PACKED[:-20],
    "another checksum": PACKED[:-8] + bytes(8),
    "not UTF-8": gzip.compress(b"\xff\xfe\n", mtime=0),
    "empty": b"",
    "twice": PACKED * 2,
}


# ids of their own: bytes as ids held the time of packing, and two workers collected different tests
@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_one_is_refused(packed: Path, data: bytes) -> None:
    metrics_file(packed).write_bytes(data)
    with pytest.raises(UserError, match=r"metrics\.jsonl\.gz.* is damaged .*restore the file"):
        read_metrics(packed)


def test_a_broken_line_is_named_in_the_file_where_it_is(packed: Path) -> None:
    metrics_file(packed).write_bytes(gzip.compress(b'{"queries": 0}\n{"que\n'))
    with pytest.raises(UserError, match=r"metrics\.jsonl\.gz: line 2: is not JSON"):
        read_metrics(packed)


def test_one_that_would_fill_the_memory_is_refused(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_MOST_BYTES", len(TEXT))
    assert read_metrics(packed)
    monkeypatch.setattr(metrics, "_MOST_BYTES", len(TEXT) - 1)
    with pytest.raises(UserError, match="holds more than"):
        read_metrics(packed)
