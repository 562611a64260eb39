"""Reading ``metrics.jsonl``, to which a run adds a line at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.plainjson import NotJsonError, parse_json

__all__ = ["RESTORE", "read_metrics"]

RESTORE = "restore the file, or delete the run's folder and run again"
"""What to do about a damaged file of a run."""


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a ``metrics.jsonl``; none where there is no file.

    A last line without its line break is left out: it is being written, or its writer was killed.

    Raises:
        UserError: another line is not JSON, or the file is not UTF-8.
    """
    if not path.exists():
        return []
    lines = files.read_text(path, remedy=RESTORE).split("\n")[:-1]
    return [_line(path, number, line) for number, line in enumerate(lines, start=1)]


def _line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = parse_json(line)
    except NotJsonError as error:
        raise UserError(f"{path}: line {number}", str(error), RESTORE) from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: line {number}", "is no line of metrics (it is no table)", RESTORE)
    return found
