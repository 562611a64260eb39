"""Folders that one process has at a time, on this machine or on another that sees the same disk.

The operating system holds the lock, so it is free again as soon as its holder has died.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Self

from vader_bench import files
from vader_bench.errors import UserError

__all__ = ["LOCK_NAME", "PROBED_SECONDS", "FolderInUseError", "FolderLock", "in_use"]

LOCK_NAME = ".lock"
"""The file that stands for its folder: NFS and Lustre keep locks of folders from other machines."""
PROBED_SECONDS = 0.3
"""Longer than another process looks whether a folder is in use, which takes its lock for a moment."""

_POLL_SECONDS = 0.1


class FolderInUseError(UserError):
    """Another process has the folder."""

    def __init__(self, folder: Path) -> None:
        remedy = "wait until that process has ended, or choose another results folder"
        super().__init__(str(folder), "is in use by another process", remedy)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the folder when a worker process sends the error to its parent."""
        return FolderInUseError, (Path(self.given),)


class FolderLock:
    """The lock of one folder, which exists.

    Args:
        folder: the folder.
        patience: seconds to wait for another process.

    Raises:
        FolderInUseError: another process has it.
        UserError: the disk has no locks, or refuses.
    """

    def __init__(self, folder: Path, patience: float = 0.0) -> None:
        self._path, self._handle = _opened(folder)
        end = time.monotonic() + patience
        try:
            while not _locked(folder, self._handle, fcntl.LOCK_EX):
                if time.monotonic() >= end:
                    raise FolderInUseError(folder)
                time.sleep(_POLL_SECONDS)
        except UserError:
            self.release()
            raise

    @property
    def holds(self) -> bool:
        """Tell whether what was locked is still there, and nobody has deleted the folder."""
        return self._path.exists() and os.path.samestat(os.fstat(self._handle), self._path.stat())

    def release(self) -> None:
        """Let other processes have the folder."""
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def in_use(folder: Path) -> bool:
    """Tell whether a process has the lock of ``folder``."""
    try:
        handle = os.open(folder / LOCK_NAME, os.O_RDONLY)
    except FileNotFoundError:  # nobody has ever had it
        return False
    try:
        return not _locked(folder, handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def _opened(folder: Path) -> tuple[Path, int]:
    """Return what stands for ``folder``, and an open descriptor of it."""
    path = folder / LOCK_NAME
    try:
        return path, os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if error.errno not in {errno.EROFS, errno.EACCES}:
            raise files.refusal(path, error) from error
        return folder, os.open(folder, os.O_RDONLY)  # it is read here, and written nowhere


def _locked(folder: Path, handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        remedy = "choose a results folder on one that has them; Lustre needs the mount option flock"
        raise UserError(str(folder), f"is on a disk without locks ({error.strerror})", remedy) from error
    return True
