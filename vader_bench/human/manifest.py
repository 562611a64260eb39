"""The digests of all files of a package: what was built, to be held against what is there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Final

from vader_bench import files
from vader_bench.errors import UserError

__all__ = ["MANIFEST", "changed_files", "write_manifest"]

MANIFEST: Final = "manifest.json"
"""The file, in the package; written last."""


def write_manifest(package: Path, names: Iterable[str]) -> None:
    """Write the SHA-256 of the files ``names`` of ``package``, as they are now.

    Raises:
        UserError: a file is missing, or the disk refuses.
    """
    digests = {name: files.sha256_file(package / name) for name in sorted(names)}
    files.write_json(package / MANIFEST, {"version": 1, "sha256": digests})


def changed_files(package: Path) -> list[str]:
    """Return the files of ``package`` that are missing or not as the manifest says, sorted.

    Raises:
        UserError: there is no manifest, or it is none.
    """
    found = files.read_json(package / MANIFEST)
    digests = found.get("sha256") if isinstance(found, dict) else None
    if not isinstance(digests, dict) or not all(map(_is_inside, digests)):
        remedy = "restore it, or build the study again"
        raise UserError(str(package / MANIFEST), "is no list of files with their digests", remedy)
    return [
        name
        for name in sorted(digests)
        if not (package / name).is_file() or files.sha256_file(package / name) != digests[name]
    ]


def _is_inside(name: str) -> bool:
    """Tell whether ``name`` is, as it was written, that of a file below the package."""
    path = PurePath(name)
    return name == str(path) and not path.is_absolute() and ".." not in path.parts
