"""Reading ``metrics.jsonl``, to which a run adds a line at a time, and packing it in a copy of the run."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.plainjson import NotJsonError, parse_json

__all__ = [
    "METRICS_NAME", "PACKED_NAME", "RESTORE", "metrics_file", "pack_metrics", "read_metrics",
]  # fmt: skip

METRICS_NAME = "metrics.jsonl"
PACKED_NAME = "metrics.jsonl.gz"
"""What stands in its place in a copy that ``keep`` made: less than a quarter of the bytes."""

RESTORE = "restore the file, or delete the run's folder and run again"
"""What to do about a damaged file of a run."""


_MOST_BYTES = 2**30
"""Of a file that is unpacked: a thousand times what the longest packaged experiment writes, and more."""


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a ``metrics.jsonl``, or of the packed one beside it; none where there is neither.

    A last line without its line break is left out: it is being written, or its writer was killed.

    Raises:
        UserError: another line is not JSON, or the file is damaged or not UTF-8.
    """
    path = metrics_file(path)
    if not path.exists():
        return []
    text = _unpacked(path) if path.name == PACKED_NAME else files.read_text(path, remedy=RESTORE)
    return [_line(path, number, line) for number, line in enumerate(text.split("\n")[:-1], start=1)]


def metrics_file(path: Path) -> Path:
    """Return where the lines of a ``metrics.jsonl`` are: there, or packed beside it."""
    packed = path.with_name(PACKED_NAME)
    return packed if packed.exists() and not path.exists() else path


def pack_metrics(path: Path, folder: Path) -> None:
    """Write the lines of the ``metrics.jsonl`` at ``path``, packed, to ``folder``.

    Raises:
        UserError: the file cannot be read, or the disk refuses.
    """
    files.write_bytes(folder / PACKED_NAME, gzip.compress(files.read_bytes(path), mtime=0))


def _unpacked(path: Path) -> str:
    unpacker = zlib.decompressobj(wbits=31)  # gzip's form
    try:
        data = unpacker.decompress(files.read_bytes(path), _MOST_BYTES + 1)
    except zlib.error as error:
        raise UserError(str(path), f"is damaged ({error})", RESTORE) from error
    if len(data) > _MOST_BYTES:
        raise UserError(str(path), f"holds more than {_MOST_BYTES} bytes of metrics", RESTORE)
    if not unpacker.eof or unpacker.unused_data:
        wrong = "more follows its end" if unpacker.eof else "it was cut short"
        raise UserError(str(path), f"is damaged ({wrong})", RESTORE)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UserError(str(path), f"is damaged ({error})", RESTORE) from error


def _line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = parse_json(line)
    except NotJsonError as error:
        raise UserError(f"{path}: line {number}", str(error), RESTORE) from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: line {number}", "is no line of metrics (it is no table)", RESTORE)
    return found
