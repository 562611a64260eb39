"""Sends runs to MLflow from what they wrote to disk; what a server misses is sent later.

The files of a run are the truth. Only the process that launches runs sends, so that no two writers meet
in a SQLite store. ``tracking.json`` beside ``runs/`` says what has been sent. A line that was sent but not
noted is sent again with the same time stamp and step, which MLflow stores once.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlparse

from pydantic import BaseModel, ConfigDict

from vader_bench import files
from vader_bench.config.names import HELDOUT
from vader_bench.errors import UserError
from vader_bench.records.folder import RunFolder, read_metrics
from vader_bench.records.record import Record, gold_is_share

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["STATE_NAME", "Point", "Tracker", "local_store", "points"]

STATE_NAME = "tracking.json"
_LOCAL = "local"
_SCHEMES = ("http", "https", "sqlite")
_PAUSE_SECONDS = 5.0
_BATCH = 1000
"""Most metrics that MLflow takes at a time."""


class Point(NamedTuple):
    """One value of a metric."""

    key: str
    value: float
    step: int


class _Sent(BaseModel):
    """How much of a run an MLflow store has."""

    model_config = ConfigDict(extra="forbid")

    key: str
    """Tag by which a run is found again that was made but not noted."""
    started: int
    """Milliseconds since 1970; the time stamp of a metric is this plus the run's device time."""
    run_id: str | None = None
    lines: int = 0
    """Lines of ``metrics.jsonl`` that were sent."""
    finished: bool = False


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int = 1
    stores: dict[str, dict[str, _Sent]] = {}
    """By address of the store, then by name of the run."""


def local_store(results: Path) -> str:
    """Return the address of the SQLite store that is used where no other is named."""
    return f"sqlite:///{results.resolve() / 'mlflow.db'}"


def points(line: Mapping[str, Any], gold_as: str = "gold") -> Iterator[Point]:
    """Yield what MLflow gets of a line of ``metrics.jsonl``; see the README for what each metric means.

    Args:
        line: of the file.
        gold_as: what its gold is called: ``prompt_share`` of a run of 0.1.0.
    """
    queries = int(line["queries"])
    for name, value in line.get("measured", {}).items():
        yield Point(f"measured/{name}", value, queries)
    if line["kind"] == "measurement":
        return
    if line["kind"] == "step":
        for name, value in line["metrics"].items():
            yield Point(f"train/{name}", value, queries)
        for name, value in line.items():
            if name not in {"kind", "metrics"}:
                yield Point(f"ledger/{name}", value, queries)
        return
    if line["split"] == HELDOUT:
        yield Point("reward", line["curve_mean"], queries)
        yield Point("reward_by_gpu_second", line["curve_mean"], int(line["device_seconds"]))
    for name, metric in (("reward", "reward"), ("gold", gold_as), ("prompt_share", "prompt_share")):
        if f"{name}_mean" in line:
            yield Point(f"evaluation/{line['split']}/{metric}", line[f"{name}_mean"], queries)


class Tracker:
    """The way from the results folder of an experiment to an MLflow store.

    Args:
        folder: ``<results>/<experiment>/<suite>``.
        uri: ``http(s)://host:port`` or ``sqlite:///path``; by default ``mlflow.db`` beside the results.
        warn: told once, in a line, when the store is away; nothing is sent after that.

    Raises:
        UserError: ``uri`` is no address of a store, or its folder cannot be made.
    """

    def __init__(self, folder: Path, uri: str | None, warn: Callable[[str], None]) -> None:
        self.folder = folder
        self._results = folder.parent.parent
        self._uri = uri or local_store(self._results)
        self._store = _LOCAL if uri is None else uri
        self._warn = warn
        self._away = False
        self._client: MlflowClient | None = None
        self._next: dict[Path, float] = {}
        self._check_address()

    @property
    def uri(self) -> str:
        """Return the address of the store."""
        return self._uri

    def watch(self, run: Path) -> None:
        """Send what is new in a run's folder, every few seconds."""
        if time.monotonic() >= self._next.get(run, 0.0):
            self.send(run)
            self._next[run] = time.monotonic() + _PAUSE_SECONDS

    def send(self, run: Path) -> None:
        """Send what the store has not got of a run."""
        if self._away or not RunFolder(run).metrics_path.exists():
            return
        with self._present():
            state = self._state()
            sent = self._entry(state, run.name)
            if not sent.finished:
                config = files.read_json(run / "config.json")
                self._ensure_run(state, sent, run.name, _tags(config), _parameters(config))
                self._send_lines(state, sent, run, "prompt_share" if gold_is_share(config) else "gold")
                if RunFolder(run).finished:
                    self._finish(state, sent, RunFolder(run))

    def send_report(self, paths: Iterable[Path]) -> None:
        """Send the figures and tables of the whole experiment, as artifacts of a run named ``report``."""
        if self._away:
            return
        with self._present():
            state = self._state()
            sent = self._entry(state, "report")
            self._ensure_run(state, sent, "report", {"kind": "report"}, {})
            for path in paths:
                self._mlflow().log_artifact(str(sent.run_id), str(path))
            self._mlflow().set_terminated(str(sent.run_id))
            sent.finished = True
            self._save(state)

    def _check_address(self) -> None:
        given = urlparse(self._uri)
        if given.scheme not in _SCHEMES:
            remedy = "give http://host:port of an MLflow server, or sqlite:////path/mlflow.db"
            raise UserError(f"tracking address {self._uri!r}", "is not one", remedy)
        if given.scheme == "sqlite":
            path = Path(self._uri.removeprefix("sqlite:///"))
            files.make_folder(path.parent)
            if not os.access(path if path.exists() else path.parent, os.W_OK):
                remedy = "give yourself write permission there, or name another file"
                raise UserError(f"tracking address {self._uri!r}", "cannot be written to", remedy)

    @contextmanager
    def _present(self) -> Iterator[None]:
        """Say so when the store turns out to be away inside, and send nothing from then on."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            self._away = True
            reason = str(error).splitlines()[0][:200]
            self._warn(
                f"warning: MLflow at {self._uri} is away ({reason}); the runs go on, and "
                f"`vader-bench sync {self.folder}` sends them later"
            )

    def _mlflow(self) -> MlflowClient:
        if self._client is None:
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
            from mlflow import MlflowClient

            for name in ("mlflow", "alembic"):
                logging.getLogger(name).setLevel(logging.WARNING)  # they announce each table they make
            self._client = MlflowClient(tracking_uri=self._uri)
        return self._client

    def _state(self) -> _State:
        path = self.folder / STATE_NAME
        return _State.model_validate(files.read_json(path)) if path.exists() else _State()

    def _entry(self, state: _State, name: str) -> _Sent:
        runs = state.stores.setdefault(self._store, {})
        if name not in runs:
            runs[name] = _Sent(key=uuid.uuid4().hex, started=int(time.time() * 1000))
            self._save(state)
        return runs[name]

    def _save(self, state: _State) -> None:
        files.write_json(self.folder / STATE_NAME, state.model_dump(mode="json"))

    def _ensure_run(
        self, state: _State, sent: _Sent, name: str, tags: dict[str, str], parameters: dict[str, str]
    ) -> None:
        if sent.run_id is not None:
            return
        from mlflow.entities import Param

        client, experiment = self._mlflow(), self._experiment()
        made = client.search_runs([experiment], f"tags.`vader_bench.key` = '{sent.key}'")
        if made:
            sent.run_id = made[0].info.run_id
        else:
            tags = {"vader_bench.key": sent.key, **tags}
            run = client.create_run(experiment, start_time=sent.started, tags=tags, run_name=name)
            sent.run_id = run.info.run_id
        client.log_batch(sent.run_id, params=[Param(key, value) for key, value in parameters.items()])
        self._save(state)

    def _experiment(self) -> str:
        """Return the id of the MLflow experiment ``<experiment>/<suite>``; make it if need be."""
        client, name = self._mlflow(), f"{self.folder.parent.name}/{self.folder.name}"
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = None  # a server knows its own
        if self._uri.startswith("sqlite:"):
            place = (self._results.resolve() / "mlartifacts" / name).as_uri()
        return str(client.create_experiment(name, artifact_location=place))

    def _send_lines(self, state: _State, sent: _Sent, run: Path, gold_as: str) -> None:
        """Send the lines after the last one that was sent, as many at a time as MLflow takes."""
        from mlflow.entities import Metric

        batch: list[Metric] = []
        lines = read_metrics(RunFolder(run).metrics_path)
        for number, line in enumerate(lines[sent.lines :], start=sent.lines + 1):
            stamp = sent.started + int(line["device_seconds"] * 1000)
            new = [Metric(point.key, point.value, stamp, point.step) for point in points(line, gold_as)]
            if len(batch) + len(new) > _BATCH:
                self._mlflow().log_batch(str(sent.run_id), metrics=batch)
                sent.lines, batch = number - 1, []
                self._save(state)
            batch += new
        if batch:
            self._mlflow().log_batch(str(sent.run_id), metrics=batch)
            sent.lines = len(lines)
            self._save(state)

    def _finish(self, state: _State, sent: _Sent, run: RunFolder) -> None:
        client, record, run_id = self._mlflow(), run.load_record(), str(sent.run_id)
        for name, hours in _hours(record).items():
            stamp = sent.started + int(record.ledger["device_seconds"] * 1000)
            client.log_metric(run_id, name, hours, stamp, int(record.ledger["reward_queries"]))
        client.set_tag(run_id, "config_digest", record.config_digest)
        client.set_tag(run_id, "git_commit", str(record.git.get("commit", "")))
        client.set_tag(run_id, "training_key", record.key)
        client.set_tag(run_id, "taken_from", record.taken_from)
        client.log_artifact(run_id, str(run.record_path))
        if (run.path / "samples").is_dir():
            client.log_artifacts(run_id, str(run.path / "samples"), "samples")
        client.set_terminated(run_id)
        sent.finished = True
        self._save(state)


def _tags(config: Mapping[str, Any]) -> dict[str, str]:
    named = {name: str(config[name]) for name in ("experiment", "method", "reward", "seed")}
    named["arm"] = str(config.get("arm", config["method"]))
    return {**named, "suite": str(config["suite"]["suite"]), "kind": "run"}


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    given = {name: config[name] for name in ("method", "reward", "seed", "reward_queries", "prompts")}
    nested = {"settings": config["settings"], "sampler": config["suite"]["sampler"]}
    for group, values in nested.items():
        given |= {f"{group}.{name}": value for name, value in values.items()}
    return {name: str(value) for name, value in given.items()}


def _hours(record: Record) -> dict[str, float]:
    hours = record.ledger["device_seconds"] / 3600
    return {"device_hours": hours} | ({"gpu_hours": hours} if record.machine.get("gpus") else {})
