"""Tracking goes on beside the training, and never stops or slows it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service.registry import TrackingStoreRegistry

from tests.support.folders import finish_run, start_run
from tests.support.stores import (
    closed_port,
    free_port,
    local_store,
    new_results,
    new_store,
    points_of,
    stored,
)
from tests.unit.records.tracking.test_database import unfinished
from tests.unit.records.tracking.test_sender import METRICS, NAME
from vader_bench.errors import UserError
from vader_bench.records.tracking import STATE_NAME, Tracker
from vader_bench.records.tracking import tracker as module
from vader_bench.records.tracking.tracker import Synced


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of results with an MLflow database."""
    return new_results(tmp_path / "results")


@pytest.fixture
def away() -> Iterator[int]:
    """The port of a server that is away."""
    with closed_port() as port:
        yield port


def tracker(results: Path, uri: str | None = None, said: list[str] | None = None) -> Tracker:
    heard: list[str] = [] if said is None else said
    return Tracker(results / "small" / "tiny", uri, heard.append)


def wait_for(attempt: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not attempt():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_run_is_followed_and_ends_whole(results: Path) -> None:
    run, follower = start_run(results), tracker(results)
    follower.watch(run)
    wait_for(lambda: MlflowClient(tracking_uri=local_store(results)).get_experiment_by_name("small/tiny"))
    wait_for(lambda: NAME in stored(results))
    assert stored(results)[NAME].info.status == "RUNNING"
    finish_run(run)
    follower.watch(run)
    follower.ended(run)
    follower.finish()
    found = stored(results)[NAME]
    assert points_of(results, found) == METRICS
    assert found.info.status == "FINISHED"
    assert 0 <= found.info.end_time - found.info.start_time < 60_000


def test_a_run_that_failed_is_shown_as_failed(results: Path) -> None:
    run, follower = start_run(results), tracker(results)
    follower.watch(run)
    follower.failed(run)
    follower.finish()
    assert stored(results)[NAME].info.status == "FAILED"


def test_watching_sends_every_few_seconds(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[Path] = []
    clock = [100.0]
    follower = tracker(results)
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])
    monkeypatch.setattr(follower, "_want", lambda run, status: wanted.append(run))
    for now in (100.0, 101.0, 104.9, 105.0, 106.0):
        clock[0] = now
        follower.watch(results / "run")
    assert wanted == [results / "run"] * 2


def test_following_takes_no_time_even_of_a_server_that_never_answers(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 1.0)
    said: list[str] = []
    run = start_run(results)
    with web(lambda handler: time.sleep(60)) as uri:
        follower = tracker(results, uri, said)
        follower.watch(run)
        before = time.monotonic()
        for _ in range(1000):
            follower.watch(run)
        follower.ended(run)
        assert time.monotonic() - before < 2
        follower.finish()
    assert len(said) == 2
    assert "is away (it does not answer)" in said[0]
    command = f"vader-bench sync {results / 'small' / 'tiny'} --tracking {follower.address.shown}"
    assert said[1] == f"MLflow lacks {NAME}; `{command}` sends them"


def test_who_interrupts_waits_for_no_store(results: Path) -> None:
    said: list[str] = []
    run = start_run(results)
    with web(lambda handler: time.sleep(60)) as uri:
        follower = tracker(results, uri, said)
        follower.failed(run)
        before = time.monotonic()
        follower.finish(at_most=0.5)
        assert time.monotonic() - before < 5
    assert said == []


def test_a_server_that_is_away_is_reported_once_and_asked_again_later(
    results: Path, away: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", (0.05,))
    said: list[str] = []
    run = start_run(results)
    follower = tracker(results, f"http://127.0.0.1:{away}", said)
    tries: list[None] = []
    opened = follower._store.open

    def count() -> None:
        tries.append(None)
        opened()

    monkeypatch.setattr(follower._store, "open", count)
    follower.watch(run)
    wait_for(lambda: len(tries) >= 3)
    assert len(said) == 1
    assert "\n" not in said[0]
    folder = results / "small" / "tiny"
    command = f"`vader-bench sync {folder} --tracking {follower.address.shown}` sends them later"
    assert "is away (" in said[0]
    assert command in said[0]
    follower.send_report([])
    follower.finish()
    assert len(said) == 2, "at the end it is told what is missing"
    assert said[1].startswith(f"MLflow lacks {NAME}, the report; `vader-bench sync ")


def test_a_report_that_comes_while_an_attempt_fails_is_not_lost(
    results: Path, away: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    follower = tracker(results, f"http://127.0.0.1:{away}", said)
    opened, tries = follower._store.open, list[None]()

    def open_and_report() -> None:
        if not tries:
            follower.send_report([])
        tries.append(None)
        opened()

    monkeypatch.setattr(follower._store, "open", open_and_report)
    follower.watch(start_run(results))
    wait_for(lambda: bool(said))
    follower.finish()
    assert said[-1].startswith(f"MLflow lacks {NAME}, the report; `vader-bench sync ")


def test_a_store_that_comes_back_gets_everything(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", (0.05,))
    database, said = results / "mlflow.db", list[str]()
    run = start_run(results)
    finish_run(run)
    whole = database.read_bytes()
    database.write_bytes(b"not a database" * 1000)
    follower = tracker(results, None, said)
    follower.ended(run)
    wait_for(lambda: said)
    assert "is damaged (file is not a database)" in said[0]
    database.write_bytes(whole)
    wait_for(lambda: len(said) == 2)
    assert said[1] == f"MLflow at {local_store(results)} has everything now"
    follower.finish()
    assert points_of(results, stored(results)[NAME]) == METRICS


def test_the_report_is_sent_at_the_end(results: Path) -> None:
    figure = results / "small" / "tiny" / "small.png"
    figure.parent.mkdir(parents=True)
    figure.write_bytes(b"png")
    follower = tracker(results)
    follower.send_report([figure])
    follower.finish()
    assert set(stored(results)) == {"report"}


def test_one_damaged_run_does_not_keep_the_others_back(results: Path) -> None:
    said: list[str] = []
    runs = [start_run(results, seed=seed) for seed in (1, 2)]
    (runs[0] / "config.json").write_text("[]")
    follower = tracker(results, None, said)
    for _ in range(2):
        for run in runs:
            follower.ended(run)
        follower.finish()
    assert set(stored(results)) == {"vader-red-seed2"}
    assert len(said) == 1
    assert "vader-red-seed1 is not sent to MLflow: " in said[0]


def test_a_password_is_neither_said_nor_written(results: Path, away: int) -> None:
    said: list[str] = []
    run = start_run(results)
    follower = tracker(results, f"http://bob:hunter2@127.0.0.1:{away}", said)
    follower.watch(run)
    follower.finish()
    with pytest.raises(UserError) as caught:
        follower.sync([run], [])
    assert said
    for text in (*said, str(caught.value), (results / "small" / "tiny" / STATE_NAME).read_text()):
        assert "hunter2" not in text


def test_sync_counts_what_it_sent(results: Path) -> None:
    runs = [start_run(results, seed=seed) for seed in (1, 2)]
    assert tracker(results).sync(runs, []) == Synced(2, 0)
    finish_run(runs[0])
    assert tracker(results).sync(runs, []) == Synced(1, 1)
    assert tracker(results).sync(runs, []) == Synced(0, 2)


def test_sync_offers_to_set_a_broken_store_aside_and_sends_everything_again(results: Path) -> None:
    run = start_run(results)
    finish_run(run)
    tracker(results).sync([run], [])
    assert tracker(results).set_aside() is None, "it is whole"
    unfinished(results / "mlflow.db")
    with pytest.raises(UserError, match=r"is damaged .it was not finished.*--new-store") as caught:
        tracker(results).sync([run], [])
    assert "\n" not in str(caught.value)
    aside = tracker(results).set_aside()
    assert aside is not None
    assert aside.exists()
    new_store(results / "mlflow.db")  # made in time; the tracker would make it
    assert tracker(results).sync([run], []) == Synced(1, 0)
    assert points_of(results, stored(results)[NAME]) == METRICS


@pytest.mark.slow
def test_sync_makes_a_store_that_is_missing(tmp_path: Path) -> None:
    run = start_run(tmp_path / "my%20results?")
    finish_run(run)
    results = tmp_path / "my%20results?"
    assert tracker(results).sync([run], []) == Synced(1, 0)
    assert points_of(results, stored(results)[NAME]) == METRICS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my%20results?"]
    assert sorted(path.name for path in results.iterdir()) == ["mlartifacts", "mlflow.db", "small"]


def test_a_store_of_an_older_mlflow_is_one_line_with_the_command(results: Path) -> None:
    run = start_run(results)
    tracker(results).sync([run], [])
    older(results / "mlflow.db")
    with pytest.raises(
        UserError, match=r"refuses \(an older MLflow made it\); give `mlflow db upgrade sqlite:"
    ):
        tracker(results).sync([run], [])


def test_a_store_killed_before_its_last_table_is_broken(results: Path) -> None:
    run = start_run(results)
    older(results / "mlflow.db")
    with pytest.raises(UserError, match=r"is damaged .it was not finished when it was made.; .* --new-store"):
        tracker(results).sync([run], [])
    assert tracker(results).set_aside() is not None


def older(path: Path) -> None:
    """Let the database say that an older MLflow made its tables."""
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.execute("UPDATE alembic_version SET version_num = '75868b020152'")
    TrackingStoreRegistry._get_store_with_resolved_uri.cache_clear()  # as in a new process


def test_mlflow_reports_nothing_home(tmp_path: Path) -> None:
    """In a process of its own, in which nothing else has switched that off."""
    code = (
        "import sys; from pathlib import Path; from vader_bench.records.tracking import Store, read_address\n"
        "Store(read_address(None, Path(sys.argv[1]))).open()\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled; print(is_telemetry_disabled())"
    )
    kept = {
        "PATH",
        "HOME",
        "PYTHONPATH",
    }  # MLflow takes several others for a test or for CI, and is silent there
    surroundings = {name: value for name, value in os.environ.items() if name in kept}
    said = subprocess.check_output([sys.executable, "-c", code, str(tmp_path)], env=surroundings, text=True)
    assert said.splitlines()[-1] == "True"


def test_a_store_that_cannot_be_written_is_refused_at_once(results: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        tracker(results, "sqlite:////proc/nowhere/mlflow.db")


@contextmanager
def web(answer: Callable[[BaseHTTPRequestHandler], object]) -> Iterator[str]:
    """A server that answers every request as ``answer`` does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                answer(self)
            except OSError:  # who asked has gone
                self.close_connection = True

        do_POST = do_GET  # noqa: N815 -- the name that the library calls

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.socket.close()


def answering(status: int, body: str) -> Callable[[BaseHTTPRequestHandler], object]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body.encode())

    return answer


def trickling(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(100000):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.2)


ANSWERS = {
    "404": (answering(404, "<html>not here</html>"), "refuses .*404"),
    "401": (answering(401, "who are you?"), "refuses .*401"),
    "html": (answering(200, "<html>\nhello</html>"), "refuses .*not in a valid JSON"),
    "list": (answering(200, "[1, 2]"), "refuses .*JSON"),
    "null": (answering(200, "null"), "refuses .*JSON"),
    "types": (answering(200, '{"experiment": [3], "runs": 5}'), "answers as no MLflow server does"),
    "more types": (
        answering(200, '{"experiment": {"experiment_id": {}, "name": []}}'),
        "answers as no MLflow",
    ),
    "reason": (
        answering(400, '{"error_code": "INVALID_STATE", "message": "no more room"}'),
        "refuses .*no more room",
    ),
    "nonsense": (answering(500, json.dumps({"error_code": 3, "message": [4]})), "refuses|answers|away"),
    "slow": (trickling, "has not answered for 2 seconds"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_whatever_a_server_answers_is_one_line(
    results: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 2.0 if kind == "slow" else 25.0)
    run = start_run(results)
    answer, wrong = ANSWERS[kind]
    before = time.monotonic()
    with web(answer) as uri, pytest.raises(UserError, match=wrong) as caught:
        tracker(results, uri).sync([run], [])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert time.monotonic() - before < 60


@contextmanager
def server(folder: Path, port: int) -> Iterator[str]:
    """An MLflow server that answers."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "server-artifacts")]
    # without its six runners of jobs, a process each, of which nothing here makes use
    environment = os.environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(lambda: answers(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def answers(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_a_server_that_comes_back_gets_the_rest_once(results: Path, tmp_path: Path) -> None:
    new_store(tmp_path / "server.db")
    port = free_port()
    run = start_run(results)
    away = f"http://127.0.0.1:{port}"
    with pytest.raises(UserError, match=r"is away .*start the server"):
        tracker(results, away).sync([run], [])
    with server(tmp_path, port) as uri:
        tracker(results, uri).sync([run], [])
        finish_run(run)
    with server(tmp_path, port) as uri:
        assert [tracker(results, uri).sync([run], []) for _ in range(2)] == [Synced(1, 0), Synced(0, 1)]
        found = stored(uri)[NAME]
        assert points_of(uri, found) == METRICS
        files = MlflowClient(tracking_uri=uri).list_artifacts(found.info.run_id, "samples")
        assert [file.path for file in files] == ["samples/heldout-0.mp4"]
