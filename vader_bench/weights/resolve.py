"""Weights by name: packaged ones checked by their digests, local ones by path, hub ones from the cache."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from time import time_ns
from typing import NamedTuple

from vader_bench.config.paths import expanded, is_file, is_folder
from vader_bench.errors import UserError
from vader_bench.files import canonical_json, read_json, sha256_file, sha256_text, write_json
from vader_bench.weights.digests import LARGE, remember, remembered
from vader_bench.weights.hub import HUB_PREFIX, find_cached, parse_hub_name

__all__ = [
    "DIGESTS",
    "PACKAGED",
    "digest",
    "digest_of",
    "is_packaged",
    "resolve",
    "size",
    "unchanged",
    "write_digests",
]

PACKAGED = Path(__file__).parents[1] / "pocket" / "weights"
"""Where the weights that come with the package lie."""
DIGESTS = "digests.json"
"""File in ``PACKAGED`` that gives the SHA-256 of every other file there, by its path with ``/``."""

_PREFIX = "pocket/"
_REMEDY = "train the weights again with `nox -s pretrain-pocket` or clone the repository again"


_QUIET = 2_000_000_000
"""Nanoseconds that a file must have been left alone before it is hashed for the digest to be kept: a tick of
the coarsest clock of a file system (FAT). A second change within one tick leaves no trace in the times."""


class _Stamp(NamedTuple):
    """What tells one content of a file from another without reading it."""

    device: int
    inode: int
    size: int
    modified: int
    """Nanoseconds; whoever copies a file may set it."""
    changed: int
    """Nanoseconds; nobody can set it."""


_KNOWN: dict[Path, tuple[_Stamp, str]] = {}
"""Digests of files that this process has read, which may have tens of gigabytes and belong to many runs."""


def resolve(name: str) -> Path:
    """Return the folder or file that ``name`` stands for.

    Args:
        name: ``"pocket/<part>"`` for packaged weights, e.g. ``"pocket/clip"`` or
            ``"pocket/aesthetic/head.safetensors"``; ``"hf:<owner>/<name>[@revision][:file or folder]"``
            for what the local cache of the Hugging Face hub holds; anything else is the path of a local
            folder or file. Packaged files are compared with their digests once a process. Nothing is
            ever downloaded.

    Raises:
        UserError: there is no such part or path; a packaged file is missing, surplus, or not as it was
            when the digests were written; the cache does not hold what is asked of the hub (exit code
            MISSING, with size, licence and the command that fetches it).
    """
    if name.startswith(HUB_PREFIX):
        return find_cached(parse_hub_name(name))
    if is_packaged(name):
        part = name.removeprefix(_PREFIX)
        _verified(PACKAGED, part)
        return PACKAGED / part
    path = expanded(name)
    if not (is_file(path) or is_folder(path)):
        raise UserError(
            f"weights {name!r}",
            "are neither a folder nor a file here",
            f"give the path of a local copy, or one of: {', '.join(_parts(_listed(PACKAGED)))}",
        )
    return path


def digest(name: str) -> str:
    """Return one SHA-256 for all files of ``name``, whose paths inside its folder count too.

    A copy of a packaged folder has the digest of the packaged one.

    Raises:
        UserError: as ``resolve``.
    """
    path = resolve(name)
    if is_packaged(name):
        return _combined(_verified(PACKAGED, name.removeprefix(_PREFIX)))
    return _combined(_hashed(path))


def digest_of(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of a file, or one for several, whose names count too."""
    if len(paths) == 1:
        return _sha256(paths[0])
    return _combined({path.name: _sha256(path) for path in paths})


def is_packaged(name: str) -> bool:
    """Return whether ``name`` is that of weights that come with the package."""
    return name.startswith(_PREFIX)


def size(name: str) -> int:
    """Return how many bytes the files of ``name`` have, those behind links too; they are not read.

    Raises:
        UserError: there is no such part, path or repository here.
    """
    path = PACKAGED / name.removeprefix(_PREFIX) if is_packaged(name) else resolve(name)
    if not path.exists():
        raise UserError(f"weights {name!r}", "are not packaged", _REMEDY)
    files = [path] if path.is_file() else _files(path)
    return sum(file.stat().st_size for file in files)


def write_digests(folder: Path) -> None:
    """Write ``digests.json`` for all files below ``folder``, hidden ones and itself left out."""
    digests = _hashed(folder)
    digests.pop(DIGESTS, None)
    write_json(folder / DIGESTS, digests)


def unchanged(folder: Path, part: str) -> bool:
    """Return whether the files of ``part`` below ``folder`` are those that its ``digests.json`` tells of."""
    if not (folder / DIGESTS).exists() or not (folder / part).exists():
        return False
    start = f"{part}/"
    wanted = {path[len(start) :]: value for path, value in _listed(folder).items() if path.startswith(start)}
    return _hashed(folder / part) == wanted


@cache
def _verified(root: Path, part: str) -> dict[str, str]:
    """Return the digests of the files of ``part``, by path inside it, after comparing every one."""
    name = _PREFIX + part
    listed = _listed(root)
    wanted = {
        path[len(part) + 1 :] or Path(path).name: value
        for path, value in listed.items()
        if path == part or path.startswith(f"{part}/")
    }
    if not wanted:
        raise UserError(
            f"weights {name!r}", "are not packaged", f"choose one of: {', '.join(_parts(listed))}"
        )
    found = _hashed(root / part) if (root / part).exists() else {}
    for path, value in sorted(wanted.items()):
        if path not in found:
            raise UserError(f"weights {name!r}", f"{path} is missing", _REMEDY)
        if found[path] != value:
            raise UserError(f"weights {name!r}", f"{path} does not match its digest in {DIGESTS}", _REMEDY)
    for path in sorted(found.keys() - wanted.keys()):
        raise UserError(f"weights {name!r}", f"{path} is not in {DIGESTS}", f"delete it, or {_REMEDY}")
    return wanted


def _listed(root: Path) -> dict[str, str]:
    """Return what ``digests.json`` under ``root`` says."""
    path = root / DIGESTS
    if not path.exists():
        raise UserError(str(path), "does not exist", _REMEDY)
    digests = read_json(path)
    if not isinstance(digests, dict) or not all(isinstance(value, str) for value in digests.values()):
        raise UserError(str(path), "is not a table of digests by path", _REMEDY)
    return digests


def _parts(listed: dict[str, str]) -> list[str]:
    """Return the names of the packaged folders."""
    return sorted({_PREFIX + path.split("/")[0] for path in listed if "/" in path})


def _hashed(path: Path) -> dict[str, str]:
    """Return the SHA-256 of the file ``path``, or of every file below the folder, by path inside it."""
    if path.is_file():
        return {path.name: _sha256(path)}
    inside = {file.relative_to(path): file for file in _files(path)}
    return {
        name.as_posix(): _sha256(file)
        for name, file in inside.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below ``folder`` by their paths inside it, those of linked folders too.

    A loader opens what lies behind a link like anything else. A link to a folder that the path has passed
    already would lead round for ever, and shows no file that is not found without it.
    """
    passed = {str(folder): {os.path.realpath(folder)}}
    for place, folders, names in os.walk(folder, followlinks=True):
        above = passed.pop(place)
        real = {name: os.path.realpath(Path(place, name)) for name in folders}
        folders[:] = [name for name in folders if real[name] not in above]
        passed |= {os.path.join(place, name): above | {real[name]} for name in folders}  # noqa: PTH118 -- as walk
        yield from (file for name in names if (file := Path(place, name)).is_file())


def _sha256(path: Path) -> str:
    """Return the SHA-256 of the file ``path``, which is read again only where it may have changed."""
    begun, path = time_ns(), path.absolute()
    stamp = _stamp(path)
    if path in _KNOWN and _KNOWN[path][0] == stamp:
        return _KNOWN[path][1]
    large = stamp is not None and stamp.size >= LARGE
    kept = remembered(path, stamp) if large and stamp is not None else None
    found = kept or sha256_file(path)
    if stamp is not None and stamp == _stamp(path) and begun - max(stamp.modified, stamp.changed) > _QUIET:
        _KNOWN[path] = (stamp, found)
        if large and not kept:
            remember(path, stamp, found)
    return found


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None  # reading it will say why
    return _Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _combined(digests: dict[str, str]) -> str:
    return sha256_text(canonical_json(digests))
