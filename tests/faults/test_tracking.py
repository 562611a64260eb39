"""A store that is away, broken or locked while runs are followed: they go on, and all points arrive once."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.support.configs import run_config
from tests.support.folders import all_lines, finish_run, start_run
from tests.support.proxy import FAULTS, proxy
from tests.support.stores import experiment_runs, free_port, local_store, new_results, new_store, points_of
from tests.unit.records.tracking.test_sender import METRICS, NAME
from tests.unit.records.tracking.test_tracker import server
from vader_bench.records.folder import RunFolder
from vader_bench.records.tracking import Tracker
from vader_bench.records.tracking import tracker as module
from vader_bench.records.tracking.tracker import Synced

WHEN = ("start", "middle", "end")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """An MLflow server."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    new_store(folder / "server.db")
    with server(folder, port):
        yield port


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask often, and wait for no answer long."""
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(module, "RETRY_SECONDS", (0.1,))
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 4.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def wait_for(attempt: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not attempt():
        assert time.monotonic() < end, "it has not come to that"
        time.sleep(0.02)


def new_run(place: Path, experiment: str) -> Path:
    """Return a run that has begun, of an experiment that no other test has sent."""
    start_run(place, lines=2)
    (place / "small").rename(place / experiment)
    return place / experiment / "tiny" / "runs" / NAME


def sent(uri: str, experiment: str) -> Run:
    """Return the run that the store has of an experiment: there is one."""
    [run] = [run for run in experiment_runs(uri, f"{experiment}/tiny") if run.info.run_name == NAME]
    return run


def grow(run: Path, lines: int) -> None:
    """Let the run have so many lines of metrics."""
    with RunFolder(run).open(run_config()) as folder:
        for line in all_lines()[len(folder.metrics()) : lines]:
            folder.append_metrics(line)


def require_all_once(uri: str, experiment: str) -> None:
    """Require that a store has the finished run whole."""
    found = sent(uri, experiment)
    assert points_of(uri, found) == METRICS
    assert found.info.status == "FINISHED"
    artifacts = MlflowClient(tracking_uri=uri).list_artifacts(found.info.run_id)
    assert {file.path for file in artifacts} == {"record.json", "lora.safetensors", "samples"}
    videos = MlflowClient(tracking_uri=uri).list_artifacts(found.info.run_id, "samples")
    assert [file.path for file in videos] == ["samples/heldout-0.mp4"]


def quiet(tracker: Tracker) -> bool:
    """Tell whether the tracker has sent all that it was given."""
    return not tracker._lacking()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("wrong", FAULTS)
def test_a_server_that_fails_and_comes_back(wrong: str, when: str, port: int, tmp_path: Path) -> None:
    experiment, moments = f"{wrong}-{when}", random.Random(f"{wrong} {when}")
    run, said = new_run(tmp_path, experiment), list[str]()
    with proxy(port) as (before, address):
        tracker = Tracker(tmp_path / experiment / "tiny", address, said.append)

        def fail() -> None:
            most = 1 if when == "middle" else 8  # requests that are made then, or more
            before.spared, before.wrong, before.asked = moments.randrange(most), wrong, 0

        def heal() -> None:
            wait_for(lambda: before.asked >= 2)  # a store that refuses is asked again at once, and then said
            before.wrong = ""

        def come_to(moment: str, watch: Callable[[], object]) -> None:
            if moment == when:
                fail()
            watch()
            if moment == when:
                heal()
            wait_for(lambda: quiet(tracker))

        come_to("start", lambda: tracker.watch(run))
        grow(run, 4)
        come_to("middle", lambda: tracker.watch(run))
        finish_run(run)
        come_to("end", lambda: tracker.ended(run))
        tracker.finish()
        assert tracker.sync([run], []) == Synced(0, 1)
    require_all_once(f"http://127.0.0.1:{port}", experiment)
    if wrong == "garbage" and not said:  # a file's answer is not read, and its lack found out at once
        assert when == "end"
        return
    warnings = [line for line in said if line.startswith("warning")]
    assert len(warnings) == 1, "it is said once"
    assert "the runs go on, and `vader-bench sync" in warnings[0]
    assert "\n" not in warnings[0]
    assert len(warnings[0]) < 500
    assert said[-1].endswith("has everything now")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("when", WHEN)
def test_a_server_that_stays_away_gets_all_from_sync(when: str, port: int, tmp_path: Path) -> None:
    experiment = f"away-{when}"
    run, said = new_run(tmp_path, experiment), list[str]()
    with proxy(port) as (before, address):
        tracker = Tracker(tmp_path / experiment / "tiny", address, said.append)
        for moment in WHEN:
            if moment == when:
                before.wrong = "refuses"
            if moment == "end":
                finish_run(run)
            grow(run, 2 + 2 * WHEN.index(moment))
            (tracker.ended if moment == "end" else tracker.watch)(run)
            wait_for(lambda: before.asked or quiet(tracker))
        tracker.finish()
        assert "is away" in said[0]
        assert f"MLflow lacks {NAME}; `vader-bench sync" in said[-1]
        before.wrong = ""
        assert Tracker(tmp_path / experiment / "tiny", address, said.append).sync([run], []) == Synced(1, 0)
    require_all_once(f"http://127.0.0.1:{port}", experiment)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("when", ["start", "middle"])
def test_a_locked_database(when: str, tmp_path: Path) -> None:
    results, said = new_results(tmp_path / "results"), list[str]()
    uri, experiment = local_store(results), f"locked-{when}"
    run = new_run(results, experiment)
    tracker = Tracker(results / experiment / "tiny", None, said.append)
    for moment in WHEN:
        if moment == "end":
            finish_run(run)
        grow(run, 2 + 2 * WHEN.index(moment))
        with closing(sqlite3.connect(results / "mlflow.db")) as other:
            if moment == when:
                other.execute("BEGIN EXCLUSIVE")
            before = time.monotonic()
            (tracker.ended if moment == "end" else tracker.watch)(run)
            assert time.monotonic() - before < 1, "no run waits for a store"
            if moment == when:
                wait_for(lambda: said)
        wait_for(lambda: quiet(tracker))
    tracker.finish()
    require_all_once(uri, experiment)
    assert "database is locked" in said[0]
    assert "the runs go on, and `vader-bench sync" in said[0]
    assert said[1:] == [f"MLflow at {tracker.address.shown} has everything now"]
