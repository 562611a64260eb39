"""Follows runs in a thread of its own, so that a slow or missing MLflow store never holds up a training."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from time import monotonic

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.records.folder import RunFolder
from vader_bench.records.tracking import database
from vader_bench.records.tracking.address import StoreAddress, read_address
from vader_bench.records.tracking.sender import Sender, Status
from vader_bench.records.tracking.state import State
from vader_bench.records.tracking.store import AWAY, DAMAGED, Store, StoreError
from vader_bench.records.tracking.views import view_address

__all__ = ["Synced", "Tracker"]

PAUSE_SECONDS = 5.0
"""A run that is at work is sent so often."""
RETRY_SECONDS = (30.0, 120.0, 600.0)
"""A store that did not do what it was asked is asked again after so long; the last pause repeats."""
PATIENCE_SECONDS = 25.0
"""At the end a store that owes an answer for longer is left alone: two attempts of ten seconds, and some."""

_NAMED = 8
"""So many of the runs that a store lacks are named."""


@dataclass(frozen=True)
class Synced:
    """What became of a folder's runs."""

    sent: int
    """Of which something was sent."""
    there: int
    """Of which the store had everything."""


class Tracker:
    """The way from the results folder of an experiment to an MLflow store.

    Args:
        folder: ``<results>/<experiment>/<suite>``.
        uri: ``http(s)://host:port`` or ``sqlite:///path``; by default ``mlflow.db`` beside the results.
        warn: called with a line that the user should read, from another thread too.

    Raises:
        UserError: ``uri`` is no address of a store, or its folder cannot be made.
    """

    def __init__(self, folder: Path, uri: str | None, warn: Callable[[str], None]) -> None:
        self.folder = folder
        self.address = read_address(uri, folder.parent.parent)
        _require_writable(self.address)
        self._given = uri
        self._warn = warn
        self._store = Store(self.address)
        self._state = State(folder, warn)
        self._sender = Sender(folder, self._store, self._state)
        self._changed = Condition()
        self._thread: Thread | None = None
        self._wanted: dict[Path, Status | None] = {}
        self._report: Sequence[Path] | None = None
        self._sending: Sequence[str] = ()
        self._next: dict[Path, float] = {}
        self._retry_at = 0.0
        self._failures = 0
        self._warned = False
        self._told: set[str] = set()
        self._ending = False

    def charts(self) -> list[str]:
        """Return, for each reward of which runs were sent, a line with the address of its charts."""
        page, name = self.address.page, f"{self.folder.parent.name}/{self.folder.name}"
        found = dict(self._sender.rewards)
        return [f"  {name}, {reward}: {view_address(page, there, reward)}" for reward, there in found.items()]

    def watch(self, run: Path) -> None:
        """Note that a run is at work; what is new in its folder is sent every few seconds."""
        self._state.seen_at_work(RunFolder(run))
        if monotonic() >= self._next.get(run, 0.0):
            self._next[run] = monotonic() + PAUSE_SECONDS
            self._want(run, "RUNNING")

    def ended(self, run: Path) -> None:
        """Note that a run is not at work any more; all of it is sent."""
        self._want(run, None)

    def failed(self, run: Path) -> None:
        """Note that a run has failed; what there is of it is sent."""
        self._want(run, "FAILED")

    def send_report(self, paths: Iterable[Path]) -> None:
        """Send the figures and tables of the whole experiment, as artifacts of a run named ``report``."""
        with self._changed:
            self._report = list(paths)
            self._start()

    def finish(self, at_most: float = math.inf) -> None:
        """Wait until all is sent, as long as the store answers, and say what is left for ``sync`` to send.

        Args:
            at_most: seconds to wait, whatever the store does.
        """
        self._state.save()
        with self._changed:
            if self._thread is None:
                return
            self._ending, self._retry_at = True, 0.0
            self._changed.notify()
        thread, end = self._thread, monotonic() + at_most
        if not self._wait_for(thread, _patience(self.address), end) and monotonic() < end:
            self._say(StoreError(AWAY, "it does not answer"))
        self._state.save()
        if monotonic() < end and (lacking := self._lacking()):
            self._warn(f"MLflow lacks {_listed(lacking)}; `{self._command}` sends them")

    def sync(self, runs: Sequence[Path], report: Sequence[Path]) -> Synced:
        """Send what the store lacks of ``runs`` and of the ``report``.

        Raises:
            UserError: the store does not take it, or a run's file is damaged.
        """
        given = f"tracking address {self.address.shown}"
        outcome: list[Synced | StoreError | UserError] = []

        def work() -> None:
            try:
                outcome.append(self._sync(runs, report))
            except (StoreError, UserError) as error:
                outcome.append(error)

        thread = Thread(target=work, daemon=True)
        thread.start()
        if not self._wait_for(thread, _patience(self.address)):
            remedy = "give the same command again when it does"
            raise UserError(given, f"has not answered for {_patience(self.address):.0f} seconds", remedy)
        found = outcome[0]
        if isinstance(found, StoreError):
            raise UserError(given, str(found), found.remedy) from found
        if isinstance(found, UserError):
            raise found
        return found

    def set_aside(self) -> Path | None:
        """Rename a broken database, so that everything is sent again to a new one.

        Returns:
            Its new path; ``None`` where nothing is broken.

        Raises:
            UserError: the store is a server's, or the disk refuses.
        """
        path, given = self.address.path, f"tracking address {self.address.shown}"
        if path is None:
            raise UserError(given, "is a server's, and no file to set aside", "leave out --new-store")
        if not database.exists(path):
            return None
        try:
            self._store.open()
            self._store.ask(self._store.client.search_experiments, max_results=1)
        except StoreError as error:
            if error.wrong != DAMAGED:
                raise UserError(given, str(error), error.remedy) from error
        else:
            return None
        try:
            return database.set_aside(path)
        except OSError as error:
            raise UserError(given, f"cannot be renamed ({error.strerror})", "rename it yourself") from error

    def _sync(self, runs: Sequence[Path], report: Sequence[Path]) -> Synced:
        self._store.open()
        sent, damaged = 0, list[UserError]()
        for run in runs:
            try:
                sent += self._sender.send(run)
            except UserError as error:
                damaged.append(error)
        self._sender.send_report(report)
        if damaged:
            raise damaged[0]
        return Synced(sent, len(runs) - sent)

    def _want(self, run: Path, status: Status | None) -> None:
        with self._changed:
            self._wanted[run] = status
            self._start()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._work, name="tracking", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _work(self) -> None:
        """Send what is wanted until the end, when one last attempt is made."""
        while True:
            with self._changed:
                while not self._due():
                    if self._ending:
                        self._thread = None
                        return
                    self._changed.wait(max(0.0, self._retry_at - monotonic()) or None)
                self._sending = self._lacking()
                wanted, self._wanted = self._wanted, {}
                report, self._report = self._report, None
            left = self._attempt(wanted, report)
            with self._changed:
                self._wanted, self._sending = left | self._wanted, ()

    def _due(self) -> bool:
        return bool(self._wanted or self._report is not None) and monotonic() >= self._retry_at

    def _attempt(
        self, wanted: dict[Path, Status | None], report: Sequence[Path] | None
    ) -> dict[Path, Status | None]:
        """Send what is wanted, and return what the store did not take."""
        left = dict(wanted)
        try:
            self._store.open()
            for run, status in wanted.items():
                self._send(run, status)
                del left[run]
            if report is not None:
                self._sender.send_report(report)
                report = None
        except StoreError as error:
            self._say(error)
            self._retry_at = monotonic() + RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
            self._failures += 1
            with self._changed:
                if self._report is None:  # else a newer one has come, which may be empty
                    self._report = report
        else:
            self._failures = 0
            if self._warned and not self._wanted:
                self._warned = False
                self._warn(f"MLflow at {self.address.shown} has everything now")
        return left

    def _send(self, run: Path, status: Status | None) -> None:
        try:
            self._sender.send(run, status)
        except UserError as error:  # one damaged folder is no reason to leave out the others
            if str(error) not in self._told:
                self._told.add(str(error))
                self._warn(f"warning: {run.name} is not sent to MLflow: {error}")

    def _say(self, error: StoreError) -> None:
        if self._warned:
            return
        self._warned = True
        given = f"warning: MLflow at {self.address.shown} {error}"
        self._warn(f"{given}; the runs go on, and `{self._command}` sends them later")

    @property
    def _command(self) -> str:
        tracking = "" if self._given is None else f" --tracking {shlex.quote(self.address.shown)}"
        return f"vader-bench sync {shlex.quote(str(self.folder))}{tracking}"

    def _lacking(self) -> list[str]:
        """Return what the store has not taken: names of runs, and ``the report``."""
        report = [] if self._report is None else ["the report"]
        return list(dict.fromkeys([*self._sending, *(run.name for run in self._wanted), *report]))

    def _wait_for(self, thread: Thread, patience: float, end: float = math.inf) -> bool:
        """Wait for the end of ``thread``; return whether it came in time and while the store answered."""
        while thread.is_alive():
            thread.join(0.05)
            asked, now = self._store.asked_at, monotonic()
            if now > end or (asked is not None and now - asked > patience):
                return not thread.is_alive()
        return True


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join([*names[:_NAMED], *([f"{more} more"] if more > 0 else [])])


def _patience(address: StoreAddress) -> float:
    """Return how long an answer may take; a database on a busy disk is slow, and never away."""
    return PATIENCE_SECONDS if address.path is None else 10 * PATIENCE_SECONDS


def _require_writable(address: StoreAddress) -> None:
    path = address.path
    if path is None:
        return
    files.make_folder(path.parent)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        remedy = "give yourself write permission there, or name another file"
        raise UserError(f"tracking address {address.shown!r}", "cannot be written to", remedy)
