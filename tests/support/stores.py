"""MLflow stores: made once, copied, and asked what they hold."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from vader_bench.records.tracking.address import read_address

__all__ = [
    "closed_port", "experiment_runs", "free_port", "history", "local_store", "new_results", "new_store",
    "points_of", "stored",
]  # fmt: skip

os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")  # a test may replace the file


@cache
def _template() -> Path:
    """Return a database without runs; making its tables takes seconds."""
    path = Path(tempfile.mkdtemp(prefix="vader-bench-store-")) / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


def new_store(path: Path) -> str:
    """Put a database without runs at ``path`` and return its address."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(_template(), path)
    return read_address(f"sqlite:///{path}", path.parent).uri


def new_results(folder: Path) -> Path:
    """Make ``folder`` one of results with an empty database, and return it."""
    new_store(folder / "mlflow.db")
    return folder


def local_store(results: Path) -> str:
    """Return the address of the store in ``results`` that is used where no other is named."""
    return read_address(None, results).uri


def experiment_runs(uri: str, name: str = "small/tiny") -> list[Run]:
    """Return the runs that the store shows in an experiment."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def stored(store: str | Path) -> dict[str, Run]:
    """Return the runs of a store by name: each must be there once."""
    uri = local_store(store) if isinstance(store, Path) else store
    runs = experiment_runs(uri)
    names = [str(run.info.run_name) for run in runs]
    assert len(names) == len(set(names)), "a run was made twice"
    return dict(zip(names, runs, strict=True))


def history(store: str | Path, run: Run, key: str) -> list[tuple[int, float]]:
    """Return steps and values of a metric, with repetitions if there are any."""
    uri = local_store(store) if isinstance(store, Path) else store
    found = MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, key)
    return sorted((metric.step, metric.value) for metric in found)


def points_of(store: str | Path, run: Run) -> dict[str, list[tuple[int, float]]]:
    """Return all points of a run, by metric."""
    return {key: history(store, run, key) for key in run.data.metrics}


@contextmanager
def closed_port() -> Iterator[int]:
    """Give a port that refuses connections, and that no other program gets meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # who does not listen refuses
        yield int(held.getsockname()[1])


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
