"""What MLflow gets: everything, once, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.support.folders import evaluation_line, finish_run, start_run, step_line
from vader_bench.errors import UserError
from vader_bench.tracking import STATE_NAME, Point, Tracker, local_store, points

METRICS = {
    "reward": [(0, 0.0), (4, 2.0), (8, 4.0)],
    "reward_by_gpu_second": [(0, 0.0), (2, 2.0), (5, 4.0)],
    "train/reward": [(2, 0.2), (4, 0.4), (8, 0.8)],
    "evaluation/heldout/gold": [(0, 0.5), (4, 0.5), (8, 0.5)],
    "evaluation/heldout/prompt_share": [(0, 0.75), (4, 0.75), (8, 0.75)],
    "evaluation/train/reward": [(8, 2.0)],
    "ledger/queries": [(2, 2.0), (4, 4.0), (8, 8.0)],
}


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs; making its tables takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def results(tmp_path: Path, empty_store: Path) -> Path:
    """A folder of results with an MLflow database."""
    (tmp_path / "results").mkdir()
    shutil.copy(empty_store, tmp_path / "results" / "mlflow.db")
    return tmp_path / "results"


def tracker(results: Path, uri: str | None = None, warnings: list[str] | None = None) -> Tracker:
    heard: list[str] = [] if warnings is None else warnings
    return Tracker(results / "small" / "tiny", uri, heard.append)


def stored(uri: str) -> dict[str, Run]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("small/tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    names = [str(run.info.run_name) for run in runs]
    assert len(names) == len(set(names)), "a run was made twice"
    return dict(zip(names, runs, strict=True))


def history(uri: str, run: Run, key: str) -> list[tuple[int, float]]:
    found = MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, key)
    return sorted((metric.step, metric.value) for metric in found)


def test_a_held_out_look_is_the_reward_by_queries_and_by_device_seconds() -> None:
    found = list(points(evaluation_line(4, 2.75)))
    assert found[:2] == [Point("reward", 2.0, 4), Point("reward_by_gpu_second", 2.0, 2)]
    assert Point("evaluation/heldout/reward", 1.0, 4) in found


def test_a_look_at_another_split_is_not_the_reward() -> None:
    keys = {point.key for point in points(evaluation_line(4, 2.75, "noun"))}
    assert keys == {f"evaluation/noun/{what}" for what in ("reward", "gold", "prompt_share")}


def test_the_gold_of_an_older_run_is_the_share_of_the_prompt(results: Path) -> None:
    line = evaluation_line(4, 2.75)
    del line["prompt_share_mean"]
    found = list(points(line, "prompt_share"))
    assert Point("evaluation/heldout/prompt_share", 0.5, 4) in found
    run = start_run(results)
    config = json.loads((run / "config.json").read_text())
    config["suite"]["gold"] = {"family": "oracle", "settings": {}}
    (run / "config.json").write_text(json.dumps(config))
    metrics = run / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace(', "prompt_share_mean": 0.75', ""))
    tracker(results).send(run)
    sent = stored(local_store(results))["vader-red-seed1"]
    assert history(local_store(results), sent, "evaluation/heldout/prompt_share") == [(0, 0.5)]
    assert history(local_store(results), sent, "evaluation/heldout/gold") == []


def test_a_step_tells_its_metrics_and_the_whole_ledger() -> None:
    keys = {point.key for point in points(step_line(4, 2.5))}
    assert keys == {"train/reward", "train/loss", "ledger/queries", "ledger/device_seconds"} | {
        f"ledger/{name}"
        for name in (
            "gradient_queries",
            "frames_scored",
            "denoiser_forwards",
            "denoiser_backwards",
            "vae_decodes",
            "flops",
        )
    }


def test_a_run_arrives_whole_and_once_however_often_it_is_sent(results: Path) -> None:
    run = start_run(results)
    tracker(results).send(run)
    half = stored(local_store(results))["vader-red-seed1"]
    assert history(local_store(results), half, "reward") == METRICS["reward"][:1]
    finish_run(run)
    for _ in range(2):
        tracker(results).send(run)
    whole = stored(local_store(results))["vader-red-seed1"]
    for key, values in METRICS.items():
        assert history(local_store(results), whole, key) == values
    assert whole.info.status == "FINISHED"
    assert whole.data.tags.items() >= {("method", "vader"), ("suite", "tiny"), ("git_commit", "abc")}
    assert whole.data.params.items() >= {("seed", "1"), ("settings.lora_rank", "2"), ("sampler.steps", "2")}
    assert whole.data.metrics["device_hours"] == 2.0
    assert "gpu_hours" not in whole.data.metrics
    files = MlflowClient(tracking_uri=local_store(results)).list_artifacts(whole.info.run_id, "samples")
    assert [file.path for file in files] == ["samples/heldout-0.mp4"]


@pytest.mark.parametrize("lost", ["the run", "its lines", "everything"])
def test_what_was_sent_but_not_noted_is_not_stored_twice(results: Path, lost: str) -> None:
    run = start_run(results)
    state_path = results / "small" / "tiny" / STATE_NAME
    sender = tracker(results)
    state = sender._state()
    sender._entry(state, run.name)
    before = state_path.read_text()  # as noted before anything was sent
    sender.send(run)
    if lost != "the run":
        finish_run(run)
        sender.send(run)
    state_path.write_text(before)
    if lost == "the run":
        finish_run(run)
    tracker(results).send(run)
    found = stored(local_store(results))["vader-red-seed1"]
    for key, values in METRICS.items():
        assert history(local_store(results), found, key) == values


def test_a_resumed_run_goes_on_where_its_lines_were_sent(results: Path) -> None:
    run = start_run(results, lines=5)
    tracker(results).send(run)
    text = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(text[:2]))  # as a checkpoint cuts it
    tracker(results).send(run)
    finish_run(run)
    tracker(results).send(run)
    found = stored(local_store(results))["vader-red-seed1"]
    assert history(local_store(results), found, "train/reward") == METRICS["train/reward"]


def test_two_stores_get_everything_each(results: Path, empty_store: Path, tmp_path: Path) -> None:
    run = start_run(results)
    finish_run(run)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    shutil.copy(empty_store, tmp_path / "other.db")
    for uri in (None, other):
        tracker(results, uri).send(run)
    for uri in (local_store(results), other):
        assert history(uri, stored(uri)["vader-red-seed1"], "reward") == METRICS["reward"]


def test_many_lines_are_sent_in_pieces(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vader_bench.tracking._BATCH", 12)
    run = start_run(results)
    finish_run(run)
    tracker(results).send(run)
    found = stored(local_store(results))["vader-red-seed1"]
    for key, values in METRICS.items():
        assert history(local_store(results), found, key) == values


def test_a_run_without_metrics_is_not_sent(results: Path) -> None:
    run = start_run(results, lines=0)
    tracker(results).send(run)
    assert not (results / "small" / "tiny" / STATE_NAME).exists()


def test_watching_sends_every_few_seconds(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Path] = []
    clock = [100.0]
    watcher = tracker(results)
    monkeypatch.setattr("vader_bench.tracking.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(watcher, "send", sent.append)
    for now in (100.0, 101.0, 104.9, 105.0, 106.0):
        clock[0] = now
        watcher.watch(Path("run"))
    assert sent == [Path("run")] * 2


def test_the_report_is_one_run_of_its_own(results: Path) -> None:
    figure = results / "small" / "tiny" / "small.png"
    figure.parent.mkdir(parents=True)
    for content in (b"old", b"new"):
        figure.write_bytes(content)
        tracker(results).send_report([figure])
    client = MlflowClient(tracking_uri=local_store(results))
    run_id = stored(local_store(results))["report"].info.run_id
    assert Path(client.download_artifacts(run_id, "small.png")).read_bytes() == b"new"


@pytest.mark.parametrize(
    ("uri", "wrong"),
    [
        ("mlflow.example:5000", "is not one"),
        ("ftp://example/x", "is not one"),
        ("sqlite:////proc/nowhere/mlflow.db", "cannot be written"),
    ],
)
def test_an_impossible_address_is_refused_at_once(results: Path, uri: str, wrong: str) -> None:
    with pytest.raises(UserError, match=wrong):
        tracker(results, uri)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_that_is_away_is_told_once_and_stops_nothing(results: Path) -> None:
    warnings: list[str] = []
    run = start_run(results)
    sender = tracker(results, f"http://127.0.0.1:{free_port()}", warnings)
    before = time.monotonic()
    for _ in range(3):
        sender.send(run)
    sender.send_report([])
    assert time.monotonic() - before < 30
    assert len(warnings) == 1
    assert "\n" not in warnings[0]
    assert "is away" in warnings[0]
    assert f"`vader-bench sync {results / 'small' / 'tiny'}` sends them later" in warnings[0]


@contextmanager
def server(folder: Path, port: int) -> Iterator[str]:
    """An MLflow server that answers."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "server-artifacts")]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close())
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def wait_for(attempt: Callable[[], None], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


@pytest.mark.slow
def test_a_server_that_comes_back_gets_the_rest_once(
    results: Path, empty_store: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_store, tmp_path / "server.db")
    port = free_port()
    run, warnings = start_run(results), list[str]()
    tracker(results, f"http://127.0.0.1:{port}", warnings).send(run)
    assert warnings
    with server(tmp_path, port) as uri:
        tracker(results, uri).send(run)
        finish_run(run)
    tracker(results, uri, warnings).send(run)
    with server(tmp_path, port) as uri:
        for _ in range(2):
            tracker(results, uri).send(run)
        found = stored(uri)["vader-red-seed1"]
        for key, values in METRICS.items():
            assert history(uri, found, key) == values
        files = MlflowClient(tracking_uri=uri).list_artifacts(found.info.run_id, "samples")
        assert [file.path for file in files] == ["samples/heldout-0.mp4"]
