"""What is packed is read as what was not."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from vader_bench.errors import UserError
from vader_bench.records import packed
from vader_bench.records.packed import pack, read_stored, stored, stored_digest

TEXT = "".join(f'{{"kind": "step", "queries": {8 * step}}}\n' for step in range(100))


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "metrics.jsonl"
    path.parent.mkdir()
    path.write_text(TEXT, "utf-8")
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The name under which a file is looked for, where only the packed one is."""
    pack(tmp_path / "copy" / "metrics.jsonl", TEXT.encode())
    return tmp_path / "copy" / "metrics.jsonl"


def test_the_text_and_its_digest_are_the_same_in_a_fraction_of_the_bytes(plain: Path, place: Path) -> None:
    assert read_stored(place) == read_stored(plain) == TEXT
    wanted = hashlib.sha256(TEXT.encode()).hexdigest()
    assert stored_digest(place) == stored_digest(plain) == wanted
    assert stored(place).name == "metrics.jsonl.gz"
    assert stored(place).stat().st_size < plain.stat().st_size / 4


def test_packed_again_it_is_the_same_file(place: Path, tmp_path: Path) -> None:
    pack(tmp_path / "again" / "metrics.jsonl", TEXT.encode())
    assert (tmp_path / "again" / "metrics.jsonl.gz").read_bytes() == stored(place).read_bytes()


def test_what_a_run_writes_goes_before_what_is_packed(place: Path) -> None:
    place.write_text("new", "utf-8")
    assert stored(place) == place
    assert read_stored(place) == "new"
    assert stored_digest(place) == hashlib.sha256(b"new").hexdigest()


def test_where_there_is_neither_the_plain_one_is_missed(tmp_path: Path) -> None:
    assert stored(tmp_path / "metrics.jsonl") == tmp_path / "metrics.jsonl"
    with pytest.raises(UserError, match=r"metrics\.jsonl: does not exist"):
        read_stored(tmp_path / "metrics.jsonl")


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
def test_a_damaged_one_is_refused(place: Path, data: bytes) -> None:
    stored(place).write_bytes(data)
    with pytest.raises(UserError, match=r"metrics\.jsonl\.gz.* is damaged .*; ask again"):
        read_stored(place, remedy="ask again")


def test_one_that_would_fill_the_memory_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_MOST_BYTES", len(TEXT))
    assert read_stored(place)
    monkeypatch.setattr(packed, "_MOST_BYTES", len(TEXT) - 1)
    with pytest.raises(UserError, match="holds more than"):
        read_stored(place)
