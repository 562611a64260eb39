"""Records are found and read the same, packed or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.results import Invented, make_record
from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.records.packed import pack, stored
from vader_bench.records.record import Record
from vader_bench.records.record_file import find_records, has_record, pack_record, read_record, write_record


@pytest.fixture(scope="module")
def record() -> Record:
    return make_record(Invented(), "vader", "red", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 6}, "version 6; this program reads versions 1 to 5; upgrade vader-bench to the version"),
        ({"version": 0}, "version 0; this program reads versions 1 to 5"),
        ({"version": None}, "version None; this program reads versions 1 to 5"),
        ({"seed": "one"}, "is no record \\(seed: "),
        ({"extra": 1}, "is no record \\(extra: "),
    ],
)
def test_unfit_records_are_refused(tmp_path: Path, record: Record, change: Any, message: str) -> None:
    files.write_json(tmp_path / "record.json", record.model_dump(mode="json") | change)
    with pytest.raises(UserError, match=message):
        read_record(tmp_path / "record.json")


def test_a_record_takes_a_fraction_of_the_bytes_of_its_rows(tmp_path: Path, record: Record) -> None:
    files.write_json(tmp_path / "rows.json", record.model_dump(mode="json"))
    write_record(tmp_path / "record.json", record)
    assert read_record(tmp_path / "record.json") == record
    assert (tmp_path / "record.json").stat().st_size < (tmp_path / "rows.json").stat().st_size / 3


def test_record_that_is_a_list(tmp_path: Path) -> None:
    files.write_json(tmp_path / "record.json", [])
    with pytest.raises(UserError, match="version None"):
        read_record(tmp_path / "record.json")


def test_a_packed_record_is_the_record(tmp_path: Path, record: Record) -> None:
    write_record(tmp_path / "plain" / "record.json", record)
    pack_record(tmp_path / "packed" / "record.json", record)
    assert read_record(tmp_path / "packed" / "record.json") == record
    assert [path.name for path in (tmp_path / "packed").iterdir()] == ["record.json.gz"]
    plain, packed = (stored(tmp_path / name / "record.json") for name in ("plain", "packed"))
    assert packed.stat().st_size < plain.stat().st_size / 2


def test_a_damaged_packed_record_is_named_with_what_to_do(tmp_path: Path) -> None:
    pack(tmp_path / "record.json", b"{")
    with pytest.raises(UserError, match=r"record\.json\.gz: is not JSON .*run the experiment again"):
        read_record(tmp_path / "record.json")


def test_records_are_found_in_order_of_names(tmp_path: Path, record: Record) -> None:
    runs = tmp_path / "runs"
    pack_record(runs / "b" / "record.json", record)
    write_record(runs / "a" / "record.json", record)
    (runs / "c").mkdir()
    (runs / "d.txt").touch()
    wanted = {name: runs / name / "record.json" for name in "ab"}
    assert list(find_records(tmp_path).items()) == list(wanted.items())
    assert [has_record(runs / name) for name in "abc"] == [True, True, False]
    assert find_records(tmp_path / "elsewhere") == {}
