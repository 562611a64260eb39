"""A small copy of a results folder, to be committed or sent: what cannot be made again from the copy.

What is kept is said here and nowhere else. Pages and vector figures are left out, since ``vader-bench
report`` makes them again from the copy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path, PurePath
from typing import Final, NamedTuple

from vader_bench.config.names import ADAPTER_NAME
from vader_bench.errors import ExitCode, UserError
from vader_bench.files import (
    new_folder,
    read_bytes,
    read_json,
    write_bytes,
    write_json,
    write_table,
)
from vader_bench.records.metrics import METRICS_NAME
from vader_bench.records.packed import PACKED_SUFFIX, pack, stored_digest
from vader_bench.records.record_file import (
    RECORD_NAME,
    find_records,
    has_record,
    pack_record,
    read_record,
)
from vader_bench.report.reported import PROVENANCE_NAME, read_reported

__all__ = ["Kept", "keep", "kept_of_report", "kept_of_run"]

_CONFIG: Final = "config.json"
_PACKED: Final = (RECORD_NAME, METRICS_NAME)
"""Kept as packed files, which a copy of the copy finds as these."""
_TABLES: Final = (_CONFIG, "origin.json", "training.json")
_VIDEOS: Final = "samples"
_TUNING: Final = ("choice.yaml", "trials.csv", "summary.md", "trials.png")
_SHOWN: Final = (".csv", ".jpg", ".md", ".png", ".tex", ".yaml")


class Kept(NamedTuple):
    """How many bytes of files there were, and how many are in the copy."""

    before: int
    after: int


def kept_of_report(name: str) -> bool:
    """Tell whether the file ``name`` beside the runs is kept: tables and pictures, no page, SVG or PDF."""
    return name == PROVENANCE_NAME or PurePath(name).suffix in _SHOWN


def kept_of_run(path: PurePath, *, first: bool, adapters: bool, videos: bool = True) -> bool:
    """Tell whether a file of a run's folder is kept.

    Args:
        path: relative to the run's folder.
        first: whether the run has the first seed of its experiment.
        adapters: whether the trained adapters of that seed are wanted.
        videos: whether its videos are.
    """
    if path.parts[0] == _VIDEOS:
        return first and videos
    name = path.as_posix()
    packed = name.removesuffix(PACKED_SUFFIX) in _PACKED
    return packed or name in _TABLES or (name == ADAPTER_NAME and first and adapters)


def keep(
    folder: Path, out: Path, *, adapters: Collection[str] = (), sheet: bool = True, videos: bool = True
) -> Kept:
    """Write to ``out`` what is kept of the results in ``folder``, which stay as they are.

    Records are written in the newest version, and packed as metrics are. Where a report names the digest of a
    record, the copy's names that of the record in the copy, as it is before it is packed.

    Args:
        folder: ``results/<experiment>/<suite>`` with its report, or what ``tune`` wrote.
        out: a new folder.
        adapters: arms whose trained adapters of the first seed are kept.
        sheet: whether the picture of all videos is kept, though it can be made again from them.
        videos: whether those of the first seed are kept; without them there is no such picture either, since
            a report of the copy could not make it again.

    Raises:
        UserError: no such results, no report, no such adapters, a record that cannot be read, ``out`` is
            there, or the disk refuses.
    """
    if out.exists():
        raise UserError(str(out), "is there already", "name a folder that does not exist")
    tuned = (folder / _TUNING[0]).exists()
    if not tuned and not (folder / PROVENANCE_NAME).exists():
        remedy = f"make one with `vader-bench report {folder}`"
        raise UserError(str(folder), "has no report", remedy, exit_code=ExitCode.MISSING)
    records = {name: read_record(path) for name, path in find_records(folder).items()}
    unknown = sorted(set(adapters) - {record.label for record in records.values()})
    if unknown:
        raise UserError(", ".join(unknown), f"is no arm with a record in {folder}", "name another arm")
    first = min((record.seed for record in records.values()), default=0)
    holding = {
        record.label
        for name, record in records.items()
        if not tuned and record.seed == first and (folder / "runs" / name / ADAPTER_NAME).is_file()
    }
    if lacking := sorted(set(adapters) - holding):
        remedy = "leave it out: runs without their adapters are kept as they are, and so are tunings"
        raise UserError(", ".join(lacking), f"has no adapters of seed {first} to keep in {folder}", remedy)
    with new_folder(out) as copy:
        for name, record in records.items():
            pack_record(copy / "runs" / name / RECORD_NAME, record)
            run = folder / "runs" / name
            wanted = _wanted(
                run, first=record.seed == first, adapters=record.label in adapters, videos=videos
            )
            # of hundreds of trials those are enough by which a copy of the tuning goes on elsewhere
            for path in (run / _CONFIG,) if tuned else wanted:
                _copy(path, copy / path.relative_to(folder))
        _keep_report(folder, copy, sheet=sheet and videos)
    return Kept(_bytes(folder), _bytes(out))


def _wanted(run: Path, *, first: bool, adapters: bool, videos: bool) -> Iterator[Path]:
    """Yield the files of a run that are kept, beside its record."""
    for path in sorted(run.rglob("*")):
        inside = path.relative_to(run)
        kept = kept_of_run(inside, first=first, adapters=adapters, videos=videos)
        name = path.name.removesuffix(PACKED_SUFFIX)
        old = name != path.name and path.with_name(name).exists()
        if kept and not old and path.is_file() and name != RECORD_NAME:
            yield path


def _copy(path: Path, to: Path) -> None:
    if path.name in _TABLES:
        table = read_json(path)
        if not isinstance(table, dict):
            raise UserError(str(path), "is not a table", "restore it, or delete it to leave it out")
        write_table(to, table)
        return
    if path.name == METRICS_NAME:
        pack(to, read_bytes(path))
        return
    write_bytes(to, read_bytes(path))


def _keep_report(folder: Path, out: Path, *, sheet: bool) -> None:
    """Copy what a report or ``tune`` wrote; the provenance last, which says that the copy is whole."""
    found = folder / PROVENANCE_NAME
    if not found.exists():
        for name in _TUNING:
            if (folder / name).exists():  # older versions wrote two of them
                _copy(folder / name, out / name)
        return
    provenance = read_reported(folder)
    outputs = {
        name: digest
        for name, digest in provenance.outputs.items()
        if kept_of_report(name) and (sheet or PurePath(name).stem != _VIDEOS) and (folder / name).exists()
    }
    for name in ("experiment.yaml", *outputs):
        _copy(folder / name, out / name)
    records = {name: _digest(folder, out, name, digest) for name, digest in provenance.records.items()}
    write_json(out / PROVENANCE_NAME, provenance.model_dump() | {"outputs": outputs, "records": records})


def _digest(folder: Path, out: Path, run: str, reported: str) -> str:
    """Return the digest of the copy's record, if it is the copy of the one that was reported."""
    unchanged = has_record(folder / "runs" / run) and stored_digest(_record(folder, run)) == reported
    return stored_digest(_record(out, run)) if unchanged else reported


def _record(folder: Path, run: str) -> Path:
    return folder / "runs" / run / RECORD_NAME


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
