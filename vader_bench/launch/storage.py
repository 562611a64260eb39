"""Runs on their way between machines that share no disk: through an object store, by fsspec."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from vader_bench import files
from vader_bench.errors import ExitCode, UserError
from vader_bench.records.locks import LOCK_NAME

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["PAUSES", "RunCopy", "Storage"]

_CHECKPOINT = "checkpoint"
_HEADS = (_CHECKPOINT, "training.json", "record.json")
"""Each says that all the rest is there: read before it, and written after it in this order."""
PAUSES = (2.0, 10.0, 30.0)
"""Seconds before a store that did not do what it was asked is asked again."""
_WRITING = ".uploading"


class Storage:
    """A place in an object store that runs pass through.

    Args:
        url: as fsspec takes it, e.g. ``s3://bucket/folder`` or ``file:///mnt/disk``.
        results: the folder of all results; a run has the same place below ``url`` as below it.
    """

    def __init__(self, url: str, results: Path) -> None:
        self.url = url
        self._results = results.absolute()

    def place(self, folder: Path) -> Path:
        """Return where the run in ``folder`` stands below the folder of all results."""
        return folder.absolute().relative_to(self._results)

    def copy(self, place: Path, folder: Path) -> RunCopy:
        """Return the way between the run at ``place`` in the store and ``folder`` on this machine.

        Raises:
            UserError: there is no such store, or a package is missing.
        """
        from fsspec.core import url_to_fs

        with self._told():
            store, root = url_to_fs(self.url)
        return RunCopy(store, posixpath.join(root, place.as_posix()), folder)

    def fetch(self, copy: RunCopy) -> None:
        """Bring the folder up to date; see ``RunCopy.fetch``.

        Raises:
            UserError: the store is away, or refuses.
        """
        with self._told():
            copy.fetch()

    def gather(self, copy: RunCopy, *, finished: bool) -> None:
        """Bring the folder up to date, but for the checkpoint; delete in the store what is finished.

        Raises:
            UserError: the store is away, or refuses.
        """
        with self._told():
            copy.fetch(checkpoint=False)
            if finished:
                copy.delete()

    def send(self, copy: RunCopy) -> None:
        """Bring the store up to date, and try again after a while where it does not take something.

        Raises:
            UserError: it still does not.
        """
        for pause in PAUSES:
            try:
                copy.send()
            except OSError:
                time.sleep(pause)
            else:
                return
        with self._told():
            copy.send()

    @contextmanager
    def _told(self) -> Iterator[None]:
        given = f"storage {self.url!r}"
        try:
            yield
        except ImportError as error:
            remedy = "install the package that is named there, on every machine"
            raise UserError(given, str(error), remedy, exit_code=ExitCode.MISSING) from error
        except (OSError, ValueError) as error:
            remedy = "give a place that fsspec knows, e.g. s3://bucket/folder, and that can be written to"
            raise UserError(given, f"cannot be used ({error})", remedy) from error


class RunCopy:
    """One run, in a folder here and in a store.

    Whatever moment either side is stopped at, what has arrived can be gone on with: a checkpoint comes after
    the metrics that belong to it, and no file is seen half written. Its methods raise what fsspec raises.
    """

    def __init__(self, store: AbstractFileSystem, root: str, folder: Path) -> None:
        self._store = store
        self._root = root
        self._folder = folder
        self._sent: dict[str, tuple[int, int]] = {}
        """By file its time and size when both sides were the same."""

    @property
    def stale(self) -> bool:
        """Tell whether there is another state to go on from here than in the store."""
        return any(self._stamp(name) not in {None, self._sent.get(name)} for name in _HEADS)

    def send(self) -> None:
        """Bring the store up to date; a worker may write to the folder meanwhile."""
        found = {name: self._stamp(name) for name in self._names()}
        new = {name: stamp for name, stamp in found.items() if stamp and stamp != self._sent.get(name)}
        heads: dict[str, bytes] = {}
        for name in _HEADS:
            if name in new:
                with suppress(FileNotFoundError):  # the checkpoint goes when training ends
                    heads[name] = (self._folder / name).read_bytes()
        for name in sorted(new.keys() - set(_HEADS)):
            with suppress(FileNotFoundError):  # it was there for a moment only
                self._write(name, (self._folder / name).read_bytes())
                self._sent[name] = new[name]
        for name, data in heads.items():
            self._write(name, data)
            self._sent[name] = new[name]

    def fetch(self, *, checkpoint: bool = True) -> None:
        """Bring the folder up to date with what the store has; what it has not stays as it is here.

        Another machine may still send to the store meanwhile.
        """
        heads: dict[str, bytes] = {}
        self._store.invalidate_cache()
        for name in reversed(_HEADS if checkpoint else _HEADS[1:]):  # a record is never without the others
            with suppress(FileNotFoundError):
                heads[name] = self._store.cat_file(posixpath.join(self._root, name))
        self._store.invalidate_cache()
        paths = {posixpath.relpath(path, self._root): path for path in self._store.find(self._root)}
        for name in sorted(paths.keys() - set(_HEADS)):
            if not name.endswith(_WRITING):
                self._arrived(name, self._store.cat_file(paths[name]))
        for name in reversed(heads):
            self._arrived(name, heads[name])

    def delete(self) -> None:
        """Delete the run in the store."""
        self._store.rm(self._root, recursive=True)

    def _arrived(self, name: str, data: bytes) -> None:
        files.write_bytes(self._folder / name, data)
        self._sent[name] = self._stamp(name) or (0, 0)

    def _names(self) -> set[str]:
        paths = (path for path in self._folder.rglob("*") if path.is_file())
        names = {path.relative_to(self._folder).as_posix() for path in paths}
        return {name for name in names if not name.endswith((files.TEMPORARY_SUFFIX, LOCK_NAME))}

    def _stamp(self, name: str) -> tuple[int, int] | None:
        try:
            found = (self._folder / name).stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size

    def _write(self, name: str, data: bytes) -> None:
        """Write a file under another name first: not every store shows a file only when it is whole."""
        path = posixpath.join(self._root, name)
        self._store.makedirs(posixpath.dirname(path), exist_ok=True)
        self._store.pipe_file(path + _WRITING, data)
        self._store.mv(path + _WRITING, path)
