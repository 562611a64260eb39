"""Finding, reading and writing the record of a finished run, packed or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from vader_bench import files
from vader_bench.config.faults import first_fault
from vader_bench.errors import ExitCode, UserError
from vader_bench.plainjson import NotJsonError, parse_json
from vader_bench.records.columns import by_columns
from vader_bench.records.packed import RESTORE, pack, read_stored, stored
from vader_bench.records.record import Record
from vader_bench.records.upgrade import RECORD_VERSION

__all__ = [
    "RECORD_NAME", "as_model", "find_records", "has_record", "pack_record", "read_record", "write_record",
]  # fmt: skip

RECORD_NAME = "record.json"

_Model = TypeVar("_Model", bound=BaseModel)


def has_record(run: Path) -> bool:
    """Tell whether the folder ``run`` is of a finished run."""
    return stored(run / RECORD_NAME).exists()


def find_records(results: Path) -> dict[str, Path]:
    """Return by name of the run where the records below ``results/runs`` belong, in order of names."""
    runs = sorted(run for run in (results / "runs").glob("*") if has_record(run))
    return {run.name: run / RECORD_NAME for run in runs}


def read_record(path: Path) -> Record:
    """Return the record that belongs at ``path``, packed or not.

    Raises:
        UserError: no such file, a record of another version, or no record at all.
    """
    if not path.parent.is_dir():
        wanted = "give the folder of a run, `<results>/<experiment>/<suite>/runs/<run>`"
        raise UserError(str(path.parent), "is no folder", wanted, exit_code=ExitCode.MISSING)
    remedy = "give a run's own folder; where its record is damaged, delete it and run the experiment again"
    found = stored(path)
    try:
        data = parse_json(read_stored(path, remedy=remedy))
    except NotJsonError as error:
        raise UserError(str(found), str(error), remedy) from error
    version = data.get("version") if isinstance(data, dict) else None
    if type(version) is not int or not 1 <= version <= RECORD_VERSION:
        wrong = f"is a record of version {version}; this program reads versions 1 to {RECORD_VERSION}"
        raise UserError(str(found), wrong, "upgrade vader-bench to the version that wrote it, or a newer one")
    return as_model(found, Record, data)


def write_record(path: Path, record: Record) -> None:
    """Write ``record`` to the file ``path``, in the newest version and its scores by column.

    Raises:
        UserError: the disk refuses.
    """
    files.write_text(path, _text(record))


def pack_record(path: Path, record: Record) -> None:
    """Write what ``write_record`` writes to the packed file in the place of ``path``.

    Raises:
        UserError: the disk refuses.
    """
    pack(path, _text(record).encode())


def as_model(path: Path, kind: type[_Model], data: Any) -> _Model:
    """Return ``data``, which is of the file ``path``, as a ``kind``.

    Raises:
        UserError: it is none, with its first fault.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        wrong = f"is no {kind.__name__.lower()} ({first_fault(error)})"
        raise UserError(str(path), wrong, RESTORE) from error


def _text(record: Record) -> str:
    return files.table_text(by_columns(record.model_dump(mode="json")))
