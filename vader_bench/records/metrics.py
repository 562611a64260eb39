"""Reading ``metrics.jsonl``, to which a run adds a line at a time, or the packed one of a kept copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vader_bench.errors import UserError
from vader_bench.plainjson import NotJsonError, parse_json
from vader_bench.records.packed import RESTORE, read_stored, stored

__all__ = ["METRICS_NAME", "read_metrics"]

METRICS_NAME = "metrics.jsonl"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a ``metrics.jsonl``, packed or not; none where there is none.

    A last line without its line break is left out: it is being written, or its writer was killed.

    Raises:
        UserError: another line is not JSON, or the file is damaged or not UTF-8.
    """
    found = stored(path)
    if not found.exists():
        return []
    lines = read_stored(path).split("\n")[:-1]
    return [_line(found, number, line) for number, line in enumerate(lines, start=1)]


def _line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = parse_json(line)
    except NotJsonError as error:
        raise UserError(f"{path}: line {number}", str(error), RESTORE) from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: line {number}", "is no line of metrics (it is no table)", RESTORE)
    return found
