"""What an experiment's folder remembers of its tracking: who it is, and how long its runs took.

What a store holds is asked of the store and never noted here.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.records.folder import RunFolder
from vader_bench.records.packed import stored

__all__ = ["STATE_NAME", "State", "Times"]

STATE_NAME = "tracking.json"
_SAVE_SECONDS = 30.0


class Times(NamedTuple):
    """When a run began, in milliseconds since 1970, and how long it has been at work, in milliseconds."""

    began: int
    lasted: int


class _Clock(BaseModel):
    model_config = ConfigDict(extra="forbid")

    began: int
    """Milliseconds since 1970."""
    worked: int = 0
    """Milliseconds in which a worker had the run."""


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[2] = 2
    folder: str
    """By this the folder finds what it sent to a store that it shares with others."""
    keys: list[str] = []
    """By these, version 1 of this file tagged what the folder sent."""
    runs: dict[str, _Clock] = {}


class State:
    """The file ``tracking.json`` of an experiment's folder.

    A file of another form is replaced: what it says decides nothing that the store does not know better.

    Args:
        folder: ``<results>/<experiment>/<suite>``.
        warn: called with a line where the file is not what it should be, or cannot be written.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self._path = folder / STATE_NAME
        self._warn = warn
        self._stored = self._read()
        self._seen: dict[str, float] = {}
        self._saved = 0.0
        self._refused = False
        self._lock = RLock()  # the thread that watches runs and the one that sends them

    @property
    def folder(self) -> str:
        """Return the folder's own name for itself; unlike its path it stays when it is moved."""
        return self._stored.folder

    @property
    def keys(self) -> frozenset[str]:
        """Return by what older versions tagged the folder's runs."""
        return frozenset(self._stored.keys)

    def seen_at_work(self, run: RunFolder) -> None:
        """Note that a worker has the run now."""
        now, name = time.monotonic(), run.path.name
        with self._lock:
            first = name not in self._seen
            if first and (name not in self._stored.runs or not run.resumable):
                self._stored.runs[name] = _Clock(began=round(time.time() * 1000))
            self._stored.runs[name].worked += round((now - self._seen.get(name, now)) * 1000)
            self._seen[name] = now
            if first or now - self._saved > _SAVE_SECONDS:
                self.save()

    def knows(self, run: RunFolder) -> bool:
        """Tell whether somebody watched the run."""
        return run.path.name in self._stored.runs

    def times(self, run: RunFolder) -> Times:
        """Return when the run began and how long it worked; from its files where nobody watched."""
        clock = self._stored.runs.get(run.path.name)
        if clock is not None:
            return Times(clock.began, clock.worked)
        ended = stored(run.record_path if run.finished else run.metrics_path)
        last, first = ended.stat().st_mtime, (run.path / "config.json").stat().st_mtime
        at_least = run.metrics()[-1]["device_seconds"]
        return Times(round(min(first, last - at_least) * 1000), round(max(last - first, at_least) * 1000))

    def save(self) -> None:
        """Write the file."""
        with self._lock:
            self._saved = time.monotonic()
            if self._refused:
                return
            self._join()
            try:
                files.write_json(self._path, self._stored.model_dump(mode="json"))
            except UserError as error:  # a disk that is full or read-only: no run depends on this file
                self._refused = True
                self._warn(f"warning: {error}")

    def _join(self) -> None:
        """Take what another launcher has written of other runs meanwhile, and its name of the folder."""
        try:
            theirs = _Stored.model_validate(files.read_json(self._path))
        except (UserError, ValidationError):  # there is none, or it is replaced
            return
        ours = {name: clock for name, clock in self._stored.runs.items() if name in self._seen}
        self._stored = theirs.model_copy(update={"runs": self._stored.runs | theirs.runs | ours})

    def _read(self) -> _Stored:
        if not self._path.exists():
            return _Stored(folder=uuid.uuid4().hex)
        try:
            data = files.read_json(self._path)
            if isinstance(data, dict) and data.get("version") == 1:
                return _Stored(folder=uuid.uuid4().hex, keys=_keys(data))
            return _Stored.model_validate(data)
        except (UserError, ValidationError) as error:
            reason = error.wrong if isinstance(error, UserError) else error.errors()[0]["msg"]
            self._warn(f"warning: {self._path} is damaged ({reason}) and is written again")
            return _Stored(folder=uuid.uuid4().hex)


class _Old(BaseModel):
    """Version 1: by store, then by run."""

    class Sent(BaseModel):
        key: str

    stores: dict[str, dict[str, Sent]]


def _keys(data: object) -> list[str]:
    old = _Old.model_validate(data)
    return sorted({sent.key for runs in old.stores.values() for sent in runs.values()})
