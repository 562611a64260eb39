"""An MLflow store, asked so that whatever it does comes back as one sentence."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import unquote, urlsplit

from vader_bench import files
from vader_bench.records.tracking import database
from vader_bench.records.tracking.address import StoreAddress

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

__all__ = ["AWAY", "DAMAGED", "Store", "StoreError"]

AWAY = "is away"
DAMAGED = "is damaged"
REFUSES = "refuses"
_FOREIGN = "answers as no MLflow server does"

_REMEDIES = {
    AWAY: "start the server and give the same command again",
    DAMAGED: "give the same command with --new-store, which sets it aside and sends everything again",
    REFUSES: "remove the cause and give the same command again",
    _FOREIGN: "give the address of an MLflow server",
}
_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


class StoreError(Exception):
    """A store does not do what it is asked.

    Args:
        wrong: what it does instead: one of the constants of this module.
        reason: what it, or the library, says about that; one line.
        remedy: what a user does, where it is not the usual.
    """

    def __init__(self, wrong: str, reason: str, remedy: str | None = None) -> None:
        super().__init__(f"{wrong} ({reason})")
        self.wrong = wrong
        self.reason = reason
        self.remedy = remedy or _REMEDIES[wrong]


class Store:
    """A client of the store at ``address``. It answers to one thread; others may look at ``asked_at``."""

    def __init__(self, address: StoreAddress) -> None:
        self.address = address
        self.asked_at: float | None = None
        """Since when it owes an answer, by ``time.monotonic``; ``None`` while it owes none."""
        self._client: MlflowClient | None = None
        self._examined = False

    def open(self) -> None:
        """Import MLflow, and make the database where it is missing: both take seconds.

        Raises:
            StoreError: it cannot be made, or is broken.
        """
        _settle()
        from mlflow import MlflowClient

        path = self.address.path
        if path is not None and not database.exists(path):
            self._client, self._examined = None, True
            with self._translated():
                database.create(path)
        if path is not None and not self._examined:
            files.remove_left(path)
            self._refuse_broken(path)
            self._examined = True
        if self._client is None:
            self._client = self.ask(MlflowClient, tracking_uri=self.address.uri)

    def check(self) -> None:
        """Ask for as little as can be; a database that no run has made yet is not made for it.

        Raises:
            StoreError: see ``open`` and ``ask``.
        """
        if self.address.path is None or database.exists(self.address.path):
            self.open()
            self.ask(self.client.search_experiments, max_results=1)

    @property
    def client(self) -> MlflowClient:
        """Return the client of an open store; its methods belong inside ``ask``."""
        assert self._client is not None
        return self._client

    def ask(self, call: Callable[_Given, _Found], *given: _Given.args, **named: _Given.kwargs) -> _Found:
        """Return what a method of the client returns.

        Raises:
            StoreError: the store is away, refuses, is damaged or answers nonsense.
        """
        self.asked_at = monotonic()
        try:
            with self._translated():
                return call(*given, **named)
        finally:
            self.asked_at = None

    def experiment(self, name: str) -> str:
        """Return the id of the MLflow experiment ``name``; make it if need be.

        Raises:
            StoreError: see ``ask``; or somebody deleted it there.
        """
        place = self._artifacts(name)
        found = self.ask(self.client.get_experiment_by_name, name)
        if found is not None and found.lifecycle_stage == "active" and self._moved(found, place):
            self._retire(found)
            found = None
        if found is None:
            self.ask(self._create_experiment, name, place)
            found = self.ask(self.client.get_experiment_by_name, name)
        if found is None or found.lifecycle_stage != "active":
            raise StoreError(REFUSES, f"experiment {name!r} was deleted there", self._restore(found))
        return str(found.experiment_id)

    def _create_experiment(self, name: str, place: str | None) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_experiment(name, artifact_location=place)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise

    def _artifacts(self, name: str) -> str | None:
        """Return where the artifacts of an experiment go: beside a database; a server knows its own place."""
        path = self.address.path
        return None if path is None else (path.resolve().parent / "mlartifacts" / name).as_uri()

    def _moved(self, found: Experiment, place: str | None) -> bool:
        """Tell whether the database stands elsewhere than when the experiment was made in it.

        Its artifacts would go to the old place, and MLflow never changes what it noted.
        """
        noted = urlsplit(str(found.artifact_location))
        if place is None or noted.geturl() == place or noted.scheme not in {"", "file"}:
            return False
        assert self.address.path is not None
        old = Path(unquote(noted.path))
        # a copy leaves the first database in its place; where there never was one, artifacts only stood apart
        copied = any((above / self.address.path.name).exists() for above in old.parents[2:3])
        return copied or not old.exists()

    def _retire(self, found: Experiment) -> None:
        """Delete an experiment, so that it can be made again under its name; MLflow can restore it."""
        identity = str(found.experiment_id)
        name = f"{found.name} (before it was moved, {identity})"
        self.ask(self.client.rename_experiment, identity, name)
        self.ask(self.client.delete_experiment, identity)

    def _restore(self, found: Experiment | None) -> str:
        identity = "ID" if found is None else found.experiment_id
        where = f"MLFLOW_TRACKING_URI={self.address.shown!r}"
        command = f"{where} mlflow experiments restore --experiment-id {identity}"
        return f"give `{command}`, then the same command again"

    def _refuse_broken(self, path: Path) -> None:
        broken = database.fault(path)
        if broken is not None:
            raise StoreError(DAMAGED, broken)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn all that MLflow and the libraries below it raise into a ``StoreError``."""
        from alembic.util import CommandError
        from google.protobuf.json_format import ParseError  # type: ignore[import-untyped] # has no annotations
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        refused = (CommandError, MlflowException, OSError, SQLAlchemyError)
        # MLflow's client takes answers apart without looking at their form
        foreign = (AttributeError, IndexError, KeyError, ParseError, TypeError, ValueError)
        handled = sys.exc_info()[1]
        try:
            yield
        except (*refused, *foreign) as error:
            if _is_interrupt(error, handled):
                raise KeyboardInterrupt from error
            below = (error.__cause__ or error.__context__) if isinstance(error, MlflowException) else error
            if isinstance(below, RequestException):
                raise self._error(AWAY, _innermost(below)) from error
            raise self._error(REFUSES if isinstance(error, refused) else _FOREIGN, error) from error

    def _error(self, wrong: str, error: Exception) -> StoreError:
        path = self.address.path
        if path is not None and database.exists(path):
            broken = database.fault(path) or (str(error) if _unfinished(str(error)) else None)
            outdated = "out-of-date database schema" in str(error)
            if broken is None and outdated and database.is_empty(path):
                broken = database.UNFINISHED  # killed before the last of its tables
            if broken is not None:
                return StoreError(DAMAGED, _line(broken))
            if outdated:
                remedy = (
                    f"give `mlflow db upgrade {shlex.quote(self.address.uri)}`, then the same command again"
                )
                return StoreError(REFUSES, "an older MLflow made it", remedy)
        return StoreError(wrong, self.address.hide(_line(str(error) or type(error).__name__)))


def _settle() -> None:
    """Keep MLflow from waiting long, printing, reporting home, and holding a database that was replaced."""
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
    }.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401 -- sets the level of its own notes

    for name in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)  # they announce each table and each attempt


def _is_interrupt(error: BaseException | None, handled: BaseException | None) -> bool:
    """Tell whether Ctrl-C came before ``error`` and after what was ``handled`` already.

    SQLAlchemy puts the fault of a transaction that was cut off in the place of the interrupt.
    """
    if error is None or error is handled:
        return False
    before = {error.__cause__, error.__context__}
    return isinstance(error, KeyboardInterrupt) or any(_is_interrupt(one, handled) for one in before)


def _innermost(error: Exception) -> Exception:
    """Return what went wrong below all attempts of the network's libraries, e.g. a refused connection."""
    found = error.args[0] if error.args else error
    found = getattr(found, "reason", found)
    return found if isinstance(found, Exception) else error


def _unfinished(said: str) -> bool:
    """Tell whether a database was left in the middle of making its tables, by what SQLite or alembic say."""
    signs: Sequence[str] = (
        "already exists",
        "duplicate column",
        "no such table",
        "no such column",
        "revision",
    )
    return "sqlite3" in said and any(sign in said for sign in signs)


def _line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0][:200] if lines else ""
