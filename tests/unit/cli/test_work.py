"""What ``run`` and ``tune`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.configs import run_config
from tests.support.results import Invented, make_record
from vader_bench.cli import _work
from vader_bench.cli._work import Where
from vader_bench.errors import UserError
from vader_bench.experiment.job import Job
from vader_bench.experiment.resolve import claim
from vader_bench.files import write_json
from vader_bench.launch.display import Failure
from vader_bench.records.folder import RunFolder
from vader_bench.records.trained import Training


def write_record(folder: Path, seed: int) -> None:
    record = make_record(Invented(), "vader", "red", seed)
    write_json(RunFolder(folder).record_path, record.model_dump(mode="json"))


@pytest.mark.parametrize(("finished", "launched"), [([], [[1, 2]]), ([1], [[2]]), ([1, 2], [])])
def test_workers_get_the_runs_that_are_not_finished(
    finished: list[int],
    launched: list[list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = []

    def launch(jobs: list[Job], *_: Any) -> list[Any]:
        given.append([job.config.seed for job in jobs])
        return []

    monkeypatch.setattr(_work, "launch", launch)
    monkeypatch.setattr(_work, "input_digests", lambda _: {})
    folder = tmp_path / "small" / "tiny"
    jobs = [Job(run_config(seed=seed), folder / "runs" / str(seed)) for seed in (1, 2)]
    for seed in finished:
        write_record(folder / "runs" / str(seed), seed)
    _work.work(jobs, folder, Where(workers=1), "http://127.0.0.1:9")
    assert given == launched
    already = f"{len(finished)} finished already, " if finished else ""
    assert f"2 runs: {already}{2 - len(finished)} trained" in capsys.readouterr().err


def test_no_run_is_added_to_finished_ones_of_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_work, "launch", lambda *_: pytest.fail("runs were executed"))
    monkeypatch.setattr(_work, "input_digests", lambda _: {"weights/unet": "9" * 64, "prompts/noun": "9"})
    folder = tmp_path / "small" / "tiny"
    jobs = [Job(run_config(seed=seed), folder / "runs" / f"seed{seed}") for seed in (1, 2, 3)]
    for seed in (1, 2):
        write_record(folder / "runs" / f"seed{seed}", seed)
    told = "than are here now: vader-red-seed1, vader-red-seed2 with other weights/unet; restore"
    with pytest.raises(UserError, match=told):
        _work.work(jobs, folder, Where(workers=1), "http://127.0.0.1:9")
    with pytest.raises(UserError, match=told):
        _work.work(jobs[2:], folder, Where(workers=1), "http://127.0.0.1:9", beside=jobs[:2])
    _work.work(jobs[:2], folder, Where(workers=1), "http://127.0.0.1:9")  # nothing is added


def test_a_run_that_was_interrupted_while_it_was_measured_is_not_counted_as_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_work, "launch", lambda *_: [])
    folder = tmp_path / "small" / "tiny"
    job = Job(run_config(), folder / "runs" / "1")
    with RunFolder(job.folder).open(job.config) as run:
        run.end_training(Training(key="k", points=[], metrics_bytes=0))
    _work.work([job], folder, Where(workers=1), "http://127.0.0.1:9")
    assert "1 run: 1 trained already, 0 trained" in capsys.readouterr().err


def test_a_line_says_where_all_trainings_come_from() -> None:
    words = ["of the base model", "taken from fig7", "trained", "taken from fig7", "taken from forms"]
    line = "5 runs: 1 of the base model, 2 taken from fig7, 1 taken from forms, 1 trained"
    assert _work.counted(words) == line
    assert _work.counted(["finished already"]) == "1 run: 1 finished already, 0 trained"


def test_a_command_can_be_typed_again() -> None:
    options = {
        "--suite": "my suites/wan.yaml",
        "--quick": True,
        "--fresh": False,
        "--seeds": 5,
        "--out": None,
    }
    typed = _work.command_line("run", Path("fig7.yaml"), options | {"--workers": None})
    assert typed == "vader-bench run fig7.yaml --suite 'my suites/wan.yaml' --quick --seeds 5"


def test_what_became_of_each_run_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed runs are shown as failed, and an interrupt says how the others stand before it goes on."""
    folder = tmp_path / "small" / "tiny"
    jobs = [Job(run_config(seed=seed), folder / "runs" / f"seed{seed}") for seed in (1, 2)]
    for job in jobs:
        job.folder.mkdir(parents=True)
    told: list[tuple[str, str]] = []

    class Recorder:
        def __init__(self, *_: Any) -> None:
            self.watch = None

        def ended(self, run: Path) -> None:
            told.append(("ended", run.name))

        def failed(self, run: Path) -> None:
            told.append(("failed", run.name))

        def finish(self, at_most: float = 0.0) -> None:
            told.append(("finish", ""))

    monkeypatch.setattr(_work, "Tracker", Recorder)
    monkeypatch.setattr(_work, "launch", lambda *_: [Failure("seed2", "no")])
    with pytest.raises(UserError, match="1 of 2 runs failed"):
        _work.work(jobs, folder, Where(workers=1), None)
    assert told == [("ended", "seed1"), ("failed", "seed2"), ("finish", "")]

    def interrupted(*_: Any) -> list[Failure]:
        raise KeyboardInterrupt

    told.clear()
    monkeypatch.setattr(_work, "launch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _work.work(jobs, folder, Where(workers=1), None)
    assert told == [("ended", "seed1"), ("ended", "seed2"), ("finish", "")]


def test_a_second_launcher_takes_the_runs_that_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[str] = []

    def launch(jobs: list[Job], *_: Any) -> list[Failure]:
        given.extend(job.name for job in jobs)
        return []

    monkeypatch.setattr(_work, "launch", launch)
    folder = tmp_path / "small" / "tiny"
    jobs = [Job(run_config(seed=seed), folder / "runs" / f"seed{seed}") for seed in (1, 2, 3)]
    claim(jobs)
    write_record(jobs[2].folder, 3)
    monkeypatch.setattr(_work, "input_digests", lambda _: {})
    with RunFolder(jobs[0].folder).open(jobs[0].config):
        claim(jobs)  # nobody is refused
        _work.work(jobs, folder, Where(workers=1), "http://127.0.0.1:9")
        assert given == ["seed1", "seed2"], "the crew looks again when the turn of a run has come"
        assert "3 runs: 1 finished already, 1 with another launcher, 1 trained" in capsys.readouterr().err
        assert list(_work.whereabouts(_work.unfinished(jobs), 3)) == [
            "no report yet: 2 of 3 runs are missing",
            "  with another launcher: seed1",
            "  with no launcher: seed2",
            "whoever finishes the last run makes the report; once all are there, so does the same command",
        ]


def test_names_choose_runs_as_a_shell_does(tmp_path: Path) -> None:
    jobs = [
        Job(run_config(), tmp_path / f"{method}-red-seed{seed}")
        for method in ("base", "vader", "ddpo")
        for seed in (1, 10)
    ]
    assert _work.chosen(jobs, []) == jobs
    found = [job.name for job in _work.chosen(jobs, ["vader-*-seed1", "ddpo-*"])]
    assert found == ["vader-red-seed1", "ddpo-red-seed1", "ddpo-red-seed10"]
    with pytest.raises(
        UserError, match="--only 'vader-\\*-seed2': matches no run; the runs are base-red-seed1, "
    ):
        _work.chosen(jobs, ["vader-*", "vader-*-seed2"])


def test_a_store_is_of_use_to_a_cluster_alone() -> None:
    with pytest.raises(UserError, match="--storage: is for --executor ray"):
        Where(storage="s3://bucket")
