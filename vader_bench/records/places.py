"""Where this machine has the files that the suite of a run names: a table beside its record.

The record has paths as they are written, relative to a file, and names no folder of a user. What is made of
the run later, from whatever folder, finds the files by the table. That is of this machine alone: nothing is
compared with it, it is in no digest, and no copy that is kept has it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vader_bench import files
from vader_bench.config.paths import expanded, is_there, replaced
from vader_bench.config.schema import SuiteConfig
from vader_bench.errors import UserError
from vader_bench.records.record import Record

__all__ = ["PLACES_NAME", "note_places", "run_prompts", "run_suite"]

PLACES_NAME = "paths.json"
_REMEDY = "delete the file, and give the command of the experiment again, which writes it"


def note_places(folder: Path, suite: SuiteConfig) -> None:
    """Write where this machine has what ``suite`` names to the ``folder`` of a run, if it says otherwise.

    A worker on another machine writes the places of the machine on which the command was given: the run is
    brought there. Nothing is written to a disk that is read-only.

    Raises:
        UserError: the disk refuses.
    """
    path, places = folder / PLACES_NAME, suite.places
    if not places or not os.access(folder, os.W_OK):
        return
    text = files.canonical_json(places) + "\n"
    if not path.is_file() or files.read_bytes(path) != text.encode():
        files.write_text(path, text)


def run_suite(run: Path, record: Record) -> SuiteConfig:
    """Return the suite that the run in the folder ``run`` was made with, with paths of this machine.

    What is not where the run's table has it is as the record has it: relative to the current folder.

    Raises:
        UserError: the table is damaged.
    """
    table = _read(run / PLACES_NAME)
    written: dict[str, str] = {}

    def here(text: str) -> str:
        path = _here(table, text)
        if path != text:
            written[path] = text
        return path

    suite = SuiteConfig.model_validate(replaced(record.config["suite"], here))
    return suite.with_written(written)


def run_prompts(run: Path, record: Record) -> str:
    """Return the prompt set of the run in the folder ``run``, with the path that it has on this machine.

    Raises:
        UserError: the table is damaged.
    """
    name, colon, ending = record.asked.prompts.rpartition(":")  # development splits have an ending
    table = _read(run / PLACES_NAME)
    return _here(table, name) + colon + ending if colon else _here(table, ending)


def _here(table: Mapping[str, str], text: str) -> str:
    for path in (table.get(text, ""), str(expanded(text)) if text.startswith(("~/", "$")) else ""):
        if path and is_there(path):
            return path
    return text


def _read(path: Path) -> Mapping[str, str]:
    """Return the table in the file ``path``; an empty one where there is none."""
    if not path.is_file():
        return {}
    table: Any = files.read_json(path, remedy=_REMEDY)
    if not isinstance(table, dict) or not all(isinstance(place, str) for place in table.values()):
        raise UserError(str(path), "is not a table of paths", _REMEDY)
    return table
