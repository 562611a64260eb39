"""Measurements beside a run, each in a file that is named by all that it depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from vader_bench import files
from vader_bench.config.faults import first_fault
from vader_bench.errors import UserError

__all__ = ["MeasurementFolder"]

_VERSION = 1
_Found = TypeVar("_Found")


class MeasurementFolder:
    """What was measured, by what it depends on: ``<digest>.json``, made when the first one is kept.

    Whether a measurement was kept or is made again, its numbers are the same to the last bit.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(
        self,
        depends_on: Mapping[str, Any],
        kind: TypeAdapter[_Found],
        make: Callable[[], _Found],
        beside: Sequence[Path] = (),
    ) -> _Found:
        """Return the measurement that was kept, or ``make`` it and keep it.

        Args:
            depends_on: everything that decides what is found, as JSON can say it.
            kind: what is found.
            make: measures.
            beside: files that ``make`` writes too; where one is missing it is made again.

        Raises:
            UserError: what was kept is damaged.
        """
        said = files.canonical_json(depends_on)
        path = self._path / f"{files.sha256_text(said)}.json"
        if path.exists() and all(file.exists() for file in beside):
            return _read(path, kind)
        found = make()
        told = kind.dump_python(found, mode="json")
        kept = {"version": _VERSION, "depends_on": depends_on, "found": told, "sha256": _digest(told)}
        files.write_json(path, kept)
        return found

    def take(self, other: Path) -> None:
        """Link what was measured in the folder ``other`` and is not here; what is damaged there is left.

        Raises:
            UserError: the disk refuses.
        """
        for path in other.glob("*.json"):
            mine = self._path / path.name
            if not mine.exists() and _unchanged(path):  # another run may be reading what is here
                files.link(path, mine)


def _digest(found: Any) -> str:
    return files.sha256_text(files.canonical_json(found))


def _unchanged(path: Path) -> bool:
    """Tell whether a file says what was measured; those of older versions cannot tell."""
    try:
        data = files.read_json(path)
    except UserError:
        return False
    return (
        isinstance(data, dict)
        and _digest(data.get("depends_on")) == path.stem
        and _digest(data.get("found")) == data.get("sha256")
    )


def _read(path: Path, kind: TypeAdapter[_Found]) -> _Found:
    remedy = "delete it to have it measured again"
    data = files.read_json(path, remedy=remedy)
    found = data.get("found") if isinstance(data, dict) else None
    try:
        measured = kind.validate_python(found)
    except ValidationError as error:
        raise UserError(str(path), f"is no measurement ({first_fault(error)})", remedy) from error
    told = {"version": _VERSION, "depends_on": data.get("depends_on"), "found": found}
    # those of older versions have no digest
    if data not in (told, told | {"sha256": _digest(found)}) or _digest(told["depends_on"]) != path.stem:
        raise UserError(str(path), "was changed since it was measured", remedy)
    return measured
