"""Files that are whole or absent: atomic writes, durable appends, digests."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vader_bench.errors import UserError
from vader_bench.plainjson import NotJsonError, parse_json

__all__ = [
    "TEMPORARY_SUFFIX", "append_line", "canonical_json", "cut", "link", "make_folder",
    "make_private_folder", "new_folder", "open_to_append", "read_bytes", "read_json",
    "read_text", "refusal", "remove_left", "remove_temporaries", "sha256_file", "sha256_text",
    "sync_folder", "temporary", "write_bytes", "write_json", "write_private", "write_table", "write_text",
]  # fmt: skip

TEMPORARY_SUFFIX = ".writing"
"""Ending of a file being written; one that is still there was left by a killed process."""

_REMEDIES = {
    errno.ENOSPC: "free some disk space and run the same command again",
    errno.EDQUOT: "free some of your disk quota and run the same command again",
    errno.EACCES: "give yourself write permission there or choose another folder",
    errno.EPERM: "give yourself write permission there or choose another folder",
    errno.EEXIST: "move the file of that name away or choose another folder",
    errno.ENOTDIR: "move the file of that name away or choose another folder",
    errno.EROFS: "choose a folder on a disk that can be written to",
}


def write_bytes(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replace ``path`` by ``data`` at once: a reader sees the old file or the new one, never a part.

    Args:
        path: the file; its folder is made where it does not exist.
        data: all of it.
        mode: permissions of the file from its first byte on, less those that the umask takes.

    Raises:
        UserError: the disk is full or refuses; the old file is as it was and nothing is left behind.
    """
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary(path, mode) as (writing, handle):
            _write_all(handle, data)
            os.fsync(handle)
            writing.replace(path)
        sync_folder(path.parent)


@contextmanager
def temporary(path: Path, mode: int = 0o666) -> Iterator[tuple[Path, int]]:
    """Give a new file beside ``path`` under another name, to be renamed to ``path`` once it is whole.

    What is left under that name at the end is deleted, and so is what killed writers of ``path`` have left:
    the file is locked while it is written, so that one without a lock has lost its writer.

    Yields:
        The file's path and an open descriptor of it.

    Raises:
        OSError: the disk refuses.
    """
    remove_left(path)
    writing, handle = _opened(path, mode)
    try:
        try:
            yield writing, handle
        finally:
            os.close(handle)
    finally:
        _discard(writing)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in UTF-8, as ``write_bytes`` does."""
    write_bytes(path, text.encode("utf-8"))


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` as ``write_text`` does; its owner alone can read it, at any moment."""
    write_bytes(path, text.encode("utf-8"), mode=0o600)


def write_json(path: Path, obj: Any) -> None:
    """Replace ``path`` by ``obj`` as JSON, keys sorted, two spaces of indent, a newline at the end.

    Raises:
        ValueError: ``obj`` holds a NaN or an infinity, which JSON cannot say.
    """
    text = json.dumps(obj, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_table(path: Path, table: Mapping[str, Any]) -> None:
    """Replace ``path`` by ``table`` as JSON, sorted, a line for each of its keys and no other blanks.

    It is for what programs read: ``write_json`` takes half as many bytes more.

    Raises:
        ValueError: ``table`` holds a NaN or an infinity, which JSON cannot say.
    """
    write_text(path, table_text(table))


def table_text(table: Mapping[str, Any]) -> str:
    """Return what ``write_table`` writes.

    Raises:
        ValueError: as ``write_table``.
    """
    lines = (
        json.dumps(
            {key: table[key]}, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        for key in sorted(table)
    )
    return "{\n" + ",\n".join(line[1:-1] for line in lines) + "\n}\n"


def append_line(path: Path, text: str) -> None:
    """Append ``text`` and a newline to ``path`` and wait until the disk has it.

    Raises:
        ValueError: ``text`` has a line break of its own.
        UserError: the disk is full or refuses; a part of the line is taken back.
    """
    if "\n" in text or "\r" in text:
        raise ValueError(f"not one line: {text!r}")
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(handle).st_size
            try:
                _write_all(handle, (text + "\n").encode("utf-8"))
                os.fsync(handle)
            except OSError:
                with suppress(OSError):  # the first error is the one to tell; readers pass over half a line
                    os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)


def open_to_append(path: Path) -> int:
    """Return a descriptor of ``path``, open for appending; the file and its folder are made if need be.

    Raises:
        UserError: the disk refuses.
    """
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)


def cut(path: Path, size: int) -> None:
    """Shorten ``path`` to its first ``size`` bytes and wait until the disk knows.

    Raises:
        UserError: the disk refuses.
    """
    with _told(path), path.open("r+b") as stream:
        stream.truncate(size)
        os.fsync(stream.fileno())


def make_folder(path: Path) -> None:
    """Make the folder ``path`` and those above it where they do not exist.

    Raises:
        UserError: the disk refuses, or a file is in the way.
    """
    with _told(path):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder under another name that is called ``path`` once all is in it.

    Where that fails nothing is left behind.

    Raises:
        UserError: the disk refuses, or something is called ``path`` by then.
    """
    make_folder(path.parent)
    writing = path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    make_folder(writing)
    try:
        yield writing
        with _told(path):
            writing.rename(path)
    finally:
        shutil.rmtree(writing, ignore_errors=True)  # there is none where all went well


def make_private_folder(path: Path) -> None:
    """Make the folder ``path``, or take the one that is there, and let its owner alone enter it.

    Raises:
        UserError: the disk refuses, a file is in the way, or the folder is somebody else's.
    """
    with _told(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)


def read_text(path: Path, *, remedy: str | None = None) -> str:
    """Return the UTF-8 text of ``path``.

    Args:
        path: the file.
        remedy: what to do whatever is wrong, of a file that no user writes.

    Raises:
        UserError: there is no such file, it cannot be read, or it is not UTF-8.
    """
    try:
        with _asked(path, remedy):
            return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        wrong = f"is not UTF-8 text (byte {error.start})"
        raise UserError(str(path), wrong, remedy or "save the file as UTF-8") from error


def read_bytes(path: Path) -> bytes:
    """Return the bytes of ``path``.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    with _asked(path):
        return path.read_bytes()


def read_json(path: Path, *, finite: bool = True, remedy: str | None = None) -> Any:
    """Return what the JSON file ``path`` holds.

    Args:
        path: the file.
        finite: whether NaN and infinities are refused: this program writes none, and other ones do.
        remedy: see ``read_text``.

    Raises:
        UserError: there is no such file, it is not UTF-8, or ``parse_json`` refuses it.
    """
    try:
        return parse_json(read_text(path, remedy=remedy), finite=finite)
    except NotJsonError as error:
        told = remedy or "fix the file, or delete it to have it written again"
        raise UserError(str(path), str(error), told) from error


def link(source: Path, target: Path) -> None:
    """Make ``target`` the file ``source`` under another name, or a copy of it on another disk."""
    make_folder(target.parent)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one that has no links
        write_bytes(target, read_bytes(source))


def canonical_json(obj: Any) -> str:
    """Return the one text that stands for ``obj`` in a digest: sorted keys, no blanks, ASCII, no NaN."""
    return json.dumps(obj, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_text(text: str) -> str:
    """Return the SHA-256 of ``text`` in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of the bytes of ``path``, as 64 hexadecimal digits.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    with _asked(path), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def refusal(path: Path, error: OSError) -> UserError:
    """Return what to say where the operating system refuses to write ``path``."""
    remedy = _REMEDIES.get(error.errno or 0, "fix the cause and run the same command again")
    return UserError(str(path), f"cannot be written ({error.strerror or error})", remedy)


def remove_left(path: Path) -> None:
    """Delete what killed writers of ``path`` left half written; what is being written stays."""
    _remove_left(path.parent.glob(f".{glob.escape(path.name)}.*{TEMPORARY_SUFFIX}"))


def remove_temporaries(folder: Path) -> None:
    """Delete what killed processes left half written in ``folder`` and below; what is being written stays."""
    _remove_left(folder.rglob(f".*{TEMPORARY_SUFFIX}"))


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _asked(path: Path, remedy: str | None = None) -> Iterator[None]:
    """Turn a refusal to read ``path`` into a sentence that names it, with ``remedy`` if there is one."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(str(path), "does not exist", remedy or "check the path") from error
    except OSError as error:
        told = remedy or "give the path of a file that you may read"
        raise UserError(str(path), f"cannot be read ({error.strerror})", told) from error


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn a refusal of the operating system into a sentence that names ``path``."""
    try:
        yield
    except OSError as error:
        raise refusal(path, error) from error


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _opened(path: Path, mode: int) -> tuple[Path, int]:
    """Return a new file for what is to become ``path``, and an open, locked descriptor of it."""
    while True:
        writing = path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
        handle = os.open(writing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        _locked(handle, wait=True)
        if writing.exists():
            return writing, handle
        os.close(handle)  # another process found it before it was locked, and took it for one that was left


def _remove_left(found: Iterable[Path]) -> None:
    for path in list(found):
        with suppress(OSError):  # it has gone, or is another user's, or on a read-only disk: it may stay
            handle = os.open(path, os.O_RDONLY)
            try:
                if _locked(handle):
                    _discard(path)
            finally:
                os.close(handle)


def _discard(path: Path) -> None:
    """Delete a temporary file, and what SQLite keeps beside one that is a database."""
    for ending in ("", "-journal", "-wal", "-shm"):
        Path(f"{path}{ending}").unlink(missing_ok=True)


def _locked(handle: int, *, wait: bool = False) -> bool:
    """Lock the open file, or ``wait`` until that is possible; return whether it went well."""
    import fcntl  # late: Windows has none, which is said in one place, and nothing is written there

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # another process has it, or the disk has no locks
        return False
    return True
