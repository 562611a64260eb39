"""Reading ``metrics.jsonl``, to which a run adds a line at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vader_bench import files
from vader_bench.errors import UserError

__all__ = ["read_metrics"]


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a ``metrics.jsonl``; none where there is no file.

    A last line without its line break is left out: it is being written, or its writer was killed.

    Raises:
        UserError: another line is not JSON.
    """
    if not path.exists():
        return []
    lines = files.read_text(path).split("\n")[:-1]
    return [_line(path, number, line) for number, line in enumerate(lines, start=1)]


def _line(path: Path, number: int, line: str) -> dict[str, Any]:
    remedy = "restore the file, or delete the run's folder and run again"
    try:
        found = files.parse_json(line)
    except files.NotJsonError as error:
        raise UserError(f"{path}: line {number}", str(error), remedy) from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: line {number}", "is no line of metrics (it is no table)", remedy)
    return found
