"""``provenance.json`` of a report: what it says of its records and of its own files."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from vader_bench.config.faults import first_fault
from vader_bench.errors import UserError
from vader_bench.files import read_json

__all__ = ["PROVENANCE_NAME", "Reported", "read_reported"]

PROVENANCE_NAME: Final = "provenance.json"


def _plain(name: str) -> str:
    if name in {"", ".", ".."} or PurePath(name).name != name or "\0" in name:
        raise ValueError(f"{name!r} is no name of a file or a run")
    return name


_Name = Annotated[str, AfterValidator(_plain)]
"""Of a file or a folder in the results folder, and of nothing outside of it."""


class _Part(BaseModel):
    """What is not named here is kept as it is."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class _Runs(_Part):
    git: list[dict[str, Any]]


class Reported(_Part):
    """What a report says of itself, as far as other commands read it."""

    suite: str
    command: str
    records: dict[_Name, str]
    """SHA-256 of each record by the run's name."""
    outputs: dict[_Name, str]
    """SHA-256 of each file of the report."""
    missing: list[str]
    runs: _Runs

    @property
    def commits(self) -> list[str]:
        """Return the commits of the runs, shortened and sorted."""
        return sorted({str(git["commit"])[:12] for git in self.runs.git if git.get("commit")})


def read_reported(folder: Path) -> Reported:
    """Return what the report in ``folder`` says of itself.

    Raises:
        UserError: there is none, or it is not as a report writes it.
    """
    path = folder / PROVENANCE_NAME
    try:
        return Reported.model_validate(read_json(path))
    except ValidationError as error:
        remedy = f"delete it and make the report again: `vader-bench report {folder}`"
        raise UserError(str(path), f"is not as a report writes it ({first_fault(error)})", remedy) from error
