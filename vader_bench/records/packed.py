"""Files of a run that ``keep`` packs, and that are read the same whether they are packed or not."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

from vader_bench import files
from vader_bench.errors import UserError

__all__ = ["PACKED_SUFFIX", "RESTORE", "pack", "read_stored", "stored", "stored_digest"]

PACKED_SUFFIX = ".gz"
"""What a packed file's name ends with; the rest of the name stays. It has about a third of the bytes."""

RESTORE = "restore the file, or delete the run's folder and run again"
"""What to do about a damaged file of a run."""

_MOST_BYTES = 2**30
"""Of a file that is unpacked: a thousand times what the longest packaged experiment writes, and more."""


def stored(path: Path) -> Path:
    """Return the file that holds what belongs at ``path``: itself, or the packed one in its place."""
    packed = path.with_name(path.name + PACKED_SUFFIX)
    return packed if packed.exists() and not path.exists() else path


def read_stored(path: Path, *, remedy: str = RESTORE) -> str:
    """Return the text that belongs at ``path``, packed or not.

    Raises:
        UserError: there is neither file, it cannot be read, is damaged, or is not UTF-8.
    """
    found = stored(path)
    if found == path:
        return files.read_text(path, remedy=remedy)
    try:
        return _unpacked(found, remedy).decode()
    except UnicodeDecodeError as error:
        raise UserError(str(found), f"is damaged ({error})", remedy) from error


def stored_digest(path: Path) -> str:
    """Return the SHA-256 of what belongs at ``path``; it stays the same when the file is packed.

    Raises:
        UserError: as ``read_stored``, but for text that is not UTF-8.
    """
    found = stored(path)
    if found == path:
        return files.sha256_file(path)
    return hashlib.sha256(_unpacked(found, RESTORE)).hexdigest()


def pack(path: Path, data: bytes) -> None:
    """Write ``data``, which belongs at ``path``, to the packed file in its place.

    Raises:
        UserError: the disk refuses.
    """
    files.write_bytes(path.with_name(path.name + PACKED_SUFFIX), gzip.compress(data, mtime=0))


def _unpacked(path: Path, remedy: str) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)  # gzip's form
    try:
        data = unpacker.decompress(files.read_bytes(path), _MOST_BYTES + 1)
    except zlib.error as error:
        raise UserError(str(path), f"is damaged ({error})", remedy) from error
    if len(data) > _MOST_BYTES:
        raise UserError(str(path), f"holds more than {_MOST_BYTES} bytes", remedy)
    if not unpacker.eof or unpacker.unused_data:
        wrong = "more follows its end" if unpacker.eof else "it was cut short"
        raise UserError(str(path), f"is damaged ({wrong})", remedy)
    return data
