"""``vader-bench run``, for real, on a tiny model."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from safetensors.torch import load_file, save_file

from tests.support.commands import Command
from tests.support.stores import new_store
from tests.unit.cli.conftest import ENVIRONMENT, call, experiment_data, write_project, write_yaml
from vader_bench.config.yamlfile import read_mapping
from vader_bench.records.folder import read_metrics
from vader_bench.records.record_file import read_record

pytestmark = pytest.mark.slow

RUNS = [
    "base-red-seed1",
    "diffusion-dpo-red-seed1",
    "diffusion-dpo-red-seed2",
    "vader-red-seed1",
    "vader-red-seed2",
]
Finished = tuple[Path, str]


@pytest.fixture
def experiment(experiment: Path) -> Path:
    """The experiment's file, and an empty store where its runs go, whose tables take a second to make."""
    new_store(experiment.parent / "results" / "mlflow.db")
    return experiment


def comparable(folder: Path) -> dict[str, Any]:
    """Return the records below ``folder`` without what is measured."""
    records = {}
    for name in RUNS:
        data = read_record(folder / "runs" / name / "record.json").model_dump(mode="json")
        del (
            data["ledger"]["device_seconds"],
            data["machine"],
            data["git"],
            data["digests"]["code"],
            data["key"],
        )
        del data["command"]
        for evaluation in data["evaluations"]:
            del evaluation["device_seconds"]
        records[name] = data
    return records


def timeless(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str).drop(columns="device_seconds")


def test_everything_is_there_at_the_end(finished: Finished) -> None:
    folder, said = finished
    results = folder / "results" / "small" / "tiny"
    assert sorted(path.name for path in (results / "runs").glob("[!.]*")) == RUNS
    names = {path.name for path in results.iterdir() if path.is_file()}
    assert names == {
        *("small.png", "small.svg", "small.pdf", "curves.csv", "summary.csv", "summary.md", "pairs.csv"),
        *("provenance.json", "experiment.yaml", "tracking.json", "samples.jpg", "tables.tex", "report.html"),
    }
    assert "5 of 5 runs, time left 0:00" in said
    assert "red (tiny)" in said
    assert str(Path("results/small/tiny/report.html")) in said
    assert (folder / "results" / "index.html").is_file()
    assert "mlflow ui --backend-store-uri sqlite:///" in said
    assert json.loads((results / "provenance.json").read_text())["command"].startswith("vader-bench run /")


def test_every_ledger_equals_the_budget(finished: Finished) -> None:
    for name in RUNS:
        record = read_record(finished[0] / "results" / "small" / "tiny" / "runs" / name / "record.json")
        assert record.ledger["reward_queries"] == (0 if record.method == "base" else 8)


def test_mlflow_has_every_run_with_the_points_of_the_curves(finished: Finished) -> None:
    client = MlflowClient(tracking_uri=f"sqlite:///{finished[0] / 'results' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("small/tiny")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == sorted([*RUNS, "report"])
    curves = pd.read_csv(finished[0] / "results" / "small" / "tiny" / "curves.csv")
    for name in RUNS[1:]:
        method, _, seed = name.rpartition("-red-seed")
        rows = curves[(curves.method == method) & (curves.seed == int(seed))]
        found = client.get_metric_history(runs[name].info.run_id, "reward")
        assert {point.step: point.value for point in found} == pytest.approx(
            dict(zip(rows.queries, rows.reward_mean, strict=True))
        )
        assert runs[name].info.status == "FINISHED"
    files = {file.path for file in client.list_artifacts(runs["report"].info.run_id)}
    assert {"small.png", "report.html", "summary.csv"} <= files


def test_the_same_command_elsewhere_gives_the_same_curves(
    finished: Finished, tmp_path: Path, tiny_pipeline: Path
) -> None:
    experiment = write_project(tmp_path, tiny_pipeline)
    new_store(tmp_path / "other" / "mlflow.db")
    done = call("run", experiment, "--out", "other", "--workers", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    here, there = finished[0] / "results" / "small" / "tiny", tmp_path / "other" / "small" / "tiny"
    pd.testing.assert_frame_equal(timeless(here / "curves.csv"), timeless(there / "curves.csv"))
    assert comparable(here) == comparable(there)


def test_what_another_experiment_has_trained_is_not_trained_again(finished: Finished, tmp_path: Path) -> None:
    """As ``fig7`` and then ``table1``: another question, other looks, the same trainings."""
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    evaluation = experiment_data()["evaluation"] | {"every": 8, "final_prompts": 2}
    changes = {"experiment": "other", "evaluation": evaluation, "quick": {}}
    write_yaml(folder / "other.yaml", experiment_data() | changes)
    done = call("run", "other.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "5 runs: 1 of the base model, 4 taken from small, 0 trained" in done.stderr
    taken = comparable(folder / "results" / "other" / "tiny")
    assert [record["taken_from"] for record in taken.values()] == [
        "" if name.startswith("base") else f"small/tiny/{name}" for name in RUNS
    ]
    done = call("run", "other.yaml", "--fresh", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "5 runs: 1 finished already, 4 trained" in done.stderr
    trained = comparable(folder / "results" / "other" / "tiny")
    assert [record.pop("taken_from") for record in trained.values()] == [""] * len(RUNS)
    for record in taken.values():
        del record["taken_from"]
    assert taken == trained


def test_the_same_command_again_runs_nothing(finished: Finished, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    before = {path: path.read_bytes() for path in folder.rglob("runs/*/*.json*")}
    done = call("run", "small.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert before == {path: path.read_bytes() for path in folder.rglob("runs/*/*.json*")}


def test_another_experiment_in_the_same_folder_is_refused(finished: Finished, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    write_yaml(folder / "small.yaml", experiment_data() | {"budget": {"reward_queries": 4}})
    before = {path: path.read_bytes() for path in (folder / "results").rglob("*") if path.is_file()}
    done = call("run", "small.yaml", cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "holds a run of another configuration (reward_queries 8, not 4)" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert before == {path: path.read_bytes() for path in (folder / "results").rglob("*") if path.is_file()}


def start(experiment: Path) -> Command:
    command = ["run", str(experiment), "--workers", "2"]
    return Command(command, experiment.parent, ENVIRONMENT, together=True)


def wait_for_metrics(process: Command, folder: Path, lines: int) -> None:
    """Wait until the runs below ``folder``, which ``process`` executes, have ``lines`` metrics in all."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        if sum(len(read_metrics(path)) for path in folder.rglob("metrics.jsonl")) >= lines:
            return
        assert process.running, process.done().stdout
        time.sleep(0.02)
    raise TimeoutError(f"fewer than {lines} metrics in {folder}")


def holders(folder: Path) -> set[int]:
    """Return the processes that have a file below ``folder`` open."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # it has been closed, or is another user's
            if str(folder) in str(link.readlink()):
                found.add(int(link.parts[2]))
    return found


def wait_for_workers(folder: Path) -> None:
    """Wait until the workers of a command that was killed have ended, as they do on their own."""
    end = time.monotonic() + 60
    while holders(folder):
        assert time.monotonic() < end, "workers outlive the command"
        time.sleep(0.02)


def test_killed_at_random_moments_it_ends_with_the_same_records(experiment: Path, finished: Finished) -> None:
    moments = random.Random(20240711)
    results = experiment.parent / "results" / "small" / "tiny"
    for lines in (1, 5, 12):
        process = start(experiment)
        wait_for_metrics(process, results, lines)
        time.sleep(moments.random())
        process.send_signal(signal.SIGKILL)
        process.done()
        wait_for_workers(results)
    done = call("run", experiment, cwd=experiment.parent)
    assert done.returncode == 0, done.stderr
    assert comparable(results) == comparable(finished[0] / "results" / "small" / "tiny")


@pytest.mark.usefixtures("interrupts_heard")
def test_an_interrupt_ends_it_cleanly_and_it_goes_on(experiment: Path, finished: Finished) -> None:
    results = experiment.parent / "results" / "small" / "tiny"
    process = start(experiment)
    wait_for_metrics(process, results, 3)
    process.send_signal(signal.SIGINT)
    done = process.done(timeout=60)
    assert done.returncode == 130
    assert "interrupted; give the same command again to go on" in done.stdout
    assert "Traceback" not in done.stdout
    assert not list(results.rglob("*.writing"))
    done = call("run", experiment, cwd=experiment.parent)
    assert done.returncode == 0, done.stderr
    assert comparable(results) == comparable(finished[0] / "results" / "small" / "tiny")


def test_a_tracking_server_that_is_away_stops_nothing(experiment: Path) -> None:
    away = "http://127.0.0.1:9"
    done = call("run", experiment, "--quick", "--tracking", away, cwd=experiment.parent)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    results = Path("results") / "small-quick" / "tiny"
    assert f"`vader-bench sync {results} --tracking {away}` sends them later" in warnings[0]
    done = call("sync", results, "--tracking", away, cwd=experiment.parent)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    done = call("sync", results, cwd=experiment.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sent 3 runs to sqlite:///")
    curves = pd.read_csv(experiment.parent / results / "curves.csv")
    assert set(curves.queries) == {0, 4}


def test_a_reward_that_is_not_a_number_is_reported_and_leaves_no_record(
    experiment: Path, tiny_clip: Path, tiny_head: Path
) -> None:
    head = {name: weight * float("nan") for name, weight in load_file(tiny_head).items()}
    save_file(head, experiment.parent / "head.safetensors")
    suite, _ = read_mapping(experiment.parent / "tiny.yaml")
    settings = {"clip": str(tiny_clip), "head": str(experiment.parent / "head.safetensors")}
    suite["rewards"]["rating"] = {"family": "aesthetic", "settings": settings}
    write_yaml(experiment.parent / "tiny.yaml", suite)
    write_yaml(experiment, experiment_data() | {"rewards": ["rating"], "seeds": [1]})
    done = call("run", experiment, cwd=experiment.parent)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "3 of 3 runs failed" in errors[0]
    causes = done.stderr[done.stderr.index("error: ") :].splitlines()[1:]
    assert len(causes) == 3, "one of the base model, which is looked at in larger batches, one of the methods"
    assert all("a missing score is never replaced" in cause for cause in causes[:2])
    assert "what is done is kept" in causes[-1]
    assert not list(experiment.parent.rglob("record.json"))
    assert not list(experiment.parent.rglob("*.png"))


def test_a_crash_is_reported_with_its_log_and_the_others_finish(experiment: Path) -> None:
    folder = experiment.parent / "results" / "small" / "tiny" / "runs" / "vader-red-seed1"
    process = start(experiment)
    wait_for_metrics(process, folder, 1)
    for pid in holders(folder) - {process.pid}:
        os.kill(pid, signal.SIGKILL)
    done = process.done(timeout=300)
    said = done.stdout
    assert done.returncode == 1
    assert "1 of 5 runs failed: vader-red-seed1: stopped with exit code -9; see" in said
    assert len(list(folder.parent.glob("*/record.json"))) == 4  # others lie among MLflow's artifacts


def test_two_launchers_share_the_runs_and_one_of_them_makes_the_report(
    experiment: Path, finished: Finished
) -> None:
    """As two tasks of an array job; the first chooses its runs by name."""
    command = ["run", str(experiment), "--workers", "1"]
    chosen = Command([*command, "--only", "vader-*-seed1"], experiment.parent, ENVIRONMENT, together=True)
    others = Command(command, experiment.parent, ENVIRONMENT, together=True)
    first, second = chosen.done(), others.done()
    assert (first.returncode, second.returncode) == (0, 0), first.stdout + second.stdout
    results = experiment.parent / "results" / "small" / "tiny"
    assert comparable(results) == comparable(finished[0] / "results" / "small" / "tiny")
    said = first.stdout + second.stdout
    assert [said.count(f"done    {name}") for name in RUNS] == [1] * len(RUNS)
    assert said.count("report.html") >= 1
    assert (results / "report.html").is_file()
    again = call("run", experiment, "--only", "*-seed3", cwd=experiment.parent)
    assert again.returncode == 2
    assert "--only '*-seed3': matches no run; the runs are base-red-seed1, " in again.stderr


def test_several_devices_train_each_run_together(experiment: Path) -> None:
    done = call("run", experiment, "--quick", "--devices", "2", cwd=experiment.parent)
    assert done.returncode == 0, done.stderr
    runs = experiment.parent / "results" / "small-quick" / "tiny" / "runs"
    records = [read_record(path) for path in sorted(runs.glob("*/record.json"))]
    assert [(one.method, one.ledger["reward_queries"]) for one in records] == [
        ("base", 0),
        ("diffusion-dpo", 4),
        ("vader", 4),
    ]
    assert [one.machine.get("devices") for one in records] == [None, 2, 2]
    assert all(one.command.endswith("--quick --out results --devices 2") for one in records[1:])
