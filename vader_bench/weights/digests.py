"""Digests of large files, kept from one process to the next: to read 30 GB takes minutes, once is enough."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vader_bench.config.paths import expanded
from vader_bench.errors import UserError
from vader_bench.files import read_json, write_json

__all__ = ["LARGE", "remember", "remembered"]

LARGE = 2**27
"""Bytes; smaller files are read again by every process, in less than a second."""


def remembered(path: Path, stamp: Sequence[int]) -> str | None:
    """Return the SHA-256 of the file ``path`` where it was found before and its ``stamp`` is the same."""
    entry = _table().get(str(path))
    return entry["sha256"] if entry is not None and entry["stamp"] == list(stamp) else None


def remember(path: Path, stamp: Sequence[int], sha256: str) -> None:
    """Keep the SHA-256 of the file ``path``.

    Args:
        path: absolute.
        stamp: what is another as soon as the file has another content.
        sha256: of the content.
    """
    table = _table() | {str(path): {"stamp": list(stamp), "sha256": sha256}}
    with suppress(UserError):  # where nothing can be written the file is read again the next time
        write_json(_file(), table)


def _file() -> Path:
    """Return where digests are kept: the folder of caches of the user."""
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "vader-bench" / "digests.json"


def _table() -> dict[str, Any]:
    """Return what is kept, by path; nothing of a file that holds something else."""
    if not _file().exists():
        return {}
    try:
        found = read_json(_file())
    except UserError:  # it is only a cache
        return {}
    whole = isinstance(found, dict) and all(
        isinstance(entry, dict) and entry.keys() == {"stamp", "sha256"} for entry in found.values()
    )
    return found if whole else {}
