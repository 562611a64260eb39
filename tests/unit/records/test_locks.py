"""A folder has one holder, on disks of every kind, and none after its death."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vader_bench.errors import UserError
from vader_bench.records.locks import LOCK_NAME, FolderInUseError, FolderLock, in_use

HOLDER = """
import sys, time
from pathlib import Path
from vader_bench.records.locks import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_a_folder_is_free_as_soon_as_its_holder_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FolderInUseError, match="is in use by another process; wait until"):
            FolderLock(tmp_path, patience=0.2)
        holder.kill()
        holder.wait()
    with FolderLock(tmp_path) as lock:
        assert lock.holds


def test_another_machine_sees_the_lock_since_it_is_on_a_file(tmp_path: Path) -> None:
    """NFS and Lustre tell other machines of locks on files that are open for writing, and of no others."""
    with FolderLock(tmp_path):
        handle = os.open(tmp_path / LOCK_NAME, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.close(handle)
        assert in_use(tmp_path)
    assert not in_use(tmp_path)


def test_a_folder_on_a_read_only_disk_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, flags, mode)

    assert not in_use(tmp_path)
    monkeypatch.setattr(os, "open", refuse)
    with FolderLock(tmp_path) as lock:
        assert lock.holds
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", without)
    with pytest.raises(UserError, match="is on a disk without locks \\(No locks available\\)"):
        FolderLock(tmp_path)


def test_a_folder_that_was_made_again_is_another(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with FolderLock(tmp_path / "run") as lock:
        shutil.rmtree(tmp_path / "run")
        assert not lock.holds
        (tmp_path / "run").mkdir()
        assert not lock.holds


def test_the_error_comes_whole_from_a_worker(tmp_path: Path) -> None:
    error = FolderInUseError(tmp_path)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is FolderInUseError
    assert (str(again), again.exit_code) == (str(error), error.exit_code)
