"""``vader-bench sync``: at the end the store holds everything, once, and what is said is true."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.support.folders import finish_run, start_run
from tests.support.stores import closed_port, local_store, new_results, points_of, stored
from tests.unit.cli.conftest import call
from tests.unit.records.tracking.test_database import unfinished
from tests.unit.records.tracking.test_sender import METRICS
from vader_bench.cli import main
from vader_bench.records.packed import pack
from vader_bench.records.tracking import Tracker

NAMES = ["vader-red-seed1", "vader-red-seed2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an experiment with two finished runs, in results with an empty store."""
    results = new_results(tmp_path / "results")
    for seed in (1, 2):
        finish_run(start_run(results, seed=seed))
    (results / "small" / "tiny" / "summary.csv").write_text("method\n")
    return results / "small" / "tiny"


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return what ``sync`` prints where it succeeds."""
    assert main(["sync", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line of an error."""
    assert main(["sync", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith("error: tracking address ")
    return error


def check(store: str | Path) -> None:
    """The store holds both runs and the report, every point once."""
    runs = stored(store)
    assert sorted(runs) == ["report", *NAMES]
    for name in NAMES:
        assert points_of(store, runs[name]) == METRICS


def test_it_says_how_much_it_sent(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = folder.parents[1]
    shown = local_store(results)
    assert said(capsys, folder).splitlines()[0] == f"sent 2 runs to {shown}"
    nothing = f"sent 0 runs to {shown}; it had all of 2"
    assert said(capsys, folder).splitlines()[0] == nothing
    assert said(capsys, folder, "--tracking", shown).splitlines()[0] == nothing
    check(results)
    client = MlflowClient(tracking_uri=shown)
    artifacts = client.list_artifacts(stored(results)["report"].info.run_id)
    assert [artifact.path for artifact in artifacts] == ["summary.csv"]


def test_packed_files_of_a_kept_copy_are_sent_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in (folder / "runs").iterdir():
        for name in ("metrics.jsonl", "record.json"):
            pack(run / name, (run / name).read_bytes())
            (run / name).unlink()
    (folder / "runs" / "other").mkdir()
    (folder / "runs" / "other" / "metrics.jsonl.bak").touch()
    assert said(capsys, folder).startswith("sent 2 runs to ")
    check(folder.parents[1])
    assert said(capsys, folder).startswith("sent 0 runs to ")


def test_it_says_where_the_charts_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, store, charts = said(capsys, folder).splitlines()
    assert store.startswith("MLflow: mlflow ui --backend-store-uri ")
    assert charts.startswith(
        "  small/tiny, red: http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey="
    )


def test_the_address_that_run_prints_is_the_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, folder)
    printed = Tracker(folder, None, pytest.fail).address.command
    address = shlex.split(printed)[-1]
    assert said(capsys, folder, "--tracking", address).startswith("sent 0 runs")
    check(address)


def test_a_server_that_is_away_is_one_line_with_the_reason(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closed_port() as port:
        error = refused(capsys, folder, "--tracking", f"http://bob:hunter2@127.0.0.1:{port}")
    assert "is away (" in error
    assert "refused" in error
    assert "start the server and give the same command again" in error
    assert "hunter2" not in error


def test_a_deleted_experiment_is_no_absence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, folder)
    client = MlflowClient(tracking_uri=local_store(folder.parents[1]))
    found = client.get_experiment_by_name("small/tiny")
    assert found is not None
    client.delete_experiment(found.experiment_id)
    error = refused(capsys, folder)
    assert "was deleted there" in error
    assert "away" not in error
    client.restore_experiment(found.experiment_id)  # as the line says
    assert said(capsys, folder).startswith("sent 0 runs")
    check(folder.parents[1])


@pytest.mark.slow
def test_a_broken_store_is_set_aside_and_everything_is_sent_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = folder.parents[1]
    said(capsys, folder)
    other = folder.with_name("other")
    folder.rename(other)
    finish_run(start_run(results))
    finish_run(start_run(results, seed=2))
    unfinished(results / "mlflow.db")
    assert "give the same command with --new-store" in refused(capsys, folder)
    out = said(capsys, folder, "--new-store").splitlines()
    assert out[0].startswith(f"the broken database is now {results}/mlflow.db.broken-")
    assert out[1:3] == [f"sent 2 runs to {local_store(results)}"] * 2
    assert [line.partition(": ")[0] for line in out[3:]] == [
        "MLflow",
        "  small/tiny, red",
        "  small/other, red",
    ]
    assert len(list(results.glob("mlflow.db.broken-*"))) == 1
    assert set(stored(results)) == {*NAMES, "report"}
    assert said(capsys, other).startswith("sent 0 runs")


def test_a_whole_store_is_not_set_aside(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, folder, "--new-store").startswith("sent 2 runs")
    assert not list(folder.parents[1].glob("*broken*"))
    uri = "http://127.0.0.1:9"
    assert "is a server's" in refused(capsys, folder, "--new-store", "--tracking", uri)


@pytest.mark.slow
def test_the_libraries_below_say_nothing(tmp_path: Path) -> None:
    finish_run(start_run(tmp_path / "results"))
    done = call("sync", "results/small/tiny", cwd=tmp_path)
    first, *pages = done.stdout.splitlines()
    assert first == f"sent 1 run to {local_store(tmp_path / 'results')}"
    assert len(pages) == 2
    assert done.stderr == ""


def test_a_folder_without_runs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sync", str(tmp_path)]) == 3
    assert "holds no runs" in capsys.readouterr().err
