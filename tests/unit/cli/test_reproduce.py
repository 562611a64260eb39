"""``vader-bench reproduce``: the plan, and experiments one after the other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.support.networks import made_once
from tests.unit.cli.conftest import call, experiment_data, write_yaml
from vader_bench.cli import main, reproduce
from vader_bench.config import experiment_file
from vader_bench.cost import whatif


def test_a_plan_says_what_is_to_be_done_and_does_nothing(
    experiment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(experiment.parent)
    monkeypatch.setattr(whatif, "Skeletons", made_once)
    assert main(["reproduce", "small.yaml", "--only-plan", "--workers", "1"]) == 0
    head, line, whole = capsys.readouterr().out.splitlines()
    assert head.split() == ["experiment", "runs", "finished", "to", "train", "hours"]
    assert line.split()[:4] == ["small", "5", "0", "4"]
    assert line.endswith("below 0.1")
    assert whole.startswith("in all below 0.1 hours here, ")
    assert "with 1 at a time at " in whole
    assert not Path("results").exists()


def test_of_all_experiments_those_without_weights_are_left_out(
    experiment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(experiment.parent)
    monkeypatch.setattr(whatif, "Skeletons", made_once)
    suite = yaml.safe_load((experiment.parent / "tiny.yaml").read_text("utf-8"))
    suite["backbone"]["settings"]["weights"] = "hf:nobody/nothing"
    write_yaml(experiment.parent / "away.yaml", suite)
    data = experiment_data() | {"experiment": "elsewhere", "suite": "away.yaml"}
    paths = [write_yaml(experiment.parent / "elsewhere.yaml", data), experiment]
    monkeypatch.setattr(reproduce, "_packaged", lambda: paths)
    assert main(["reproduce", "--only-plan", "--workers", "1"]) == 0
    said = capsys.readouterr()
    assert f"left out, for it needs weights that are not here: {paths[0]}" in said.err
    assert [line.split()[0] for line in said.out.splitlines()] == ["experiment", "small", "in"]
    assert main(["reproduce", str(paths[0]), "--only-plan"]) == 3, "what is named is not left out"


def test_a_tuning_is_none_of_all_experiments_whatever_its_rungs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = {name: {"grid": {"k": [1, 2]}} for name in ("vader", "refl")}
    tuning = {key: experiment_data()[key] for key in ("question", "suite", "rewards", "evaluation")}
    tuning |= {"experiment": "tune", "seed": 7, "methods": searched}
    write_yaml(tmp_path / "halving.yaml", tuning | {"rungs": [{"reward_queries": 8}]})
    write_yaml(tmp_path / "one-rung.yaml", tuning | {"budget": {"reward_queries": 8}})
    write_yaml(tmp_path / "small.yaml", experiment_data())
    monkeypatch.setattr(experiment_file, "experiments_folder", lambda: tmp_path)
    assert reproduce._packaged() == [Path("small")]


@pytest.mark.slow
def test_what_is_finished_is_left_alone_and_what_is_shared_is_trained_once(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(finished[0], folder)
    write_yaml(folder / "other.yaml", experiment_data() | {"experiment": "other", "seeds": [1]})
    done = call("reproduce", "small.yaml", "other.yaml", "--workers", "1", cwd=folder)
    assert done.returncode == 0, done.stderr
    small, other = (line.split() for line in done.stdout.splitlines()[1:3])
    assert small == ["small", "5", "5", "0", "done"]
    assert other[:4] == ["other", "3", "0", "0"]  # both trainings are there
    assert "2 taken from small, 0 trained" in done.stderr
    assert (folder / "results" / "other" / "tiny" / "report.html").is_file()
    again = call("reproduce", "small.yaml", "other.yaml", cwd=folder)
    assert [line.split()[-1] for line in again.stdout.splitlines()[1:3]] == ["done", "done"]


@pytest.mark.slow
def test_an_experiment_that_fails_stops_no_other(finished: tuple[Path, str], tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(finished[0], folder)
    shutil.rmtree(folder / "results" / "small" / "tiny" / "runs" / "vader-red-seed2")
    broken = experiment_data() | {"experiment": "broken", "seeds": [1], "must_improve": True}
    write_yaml(folder / "broken.yaml", broken)
    done = call("reproduce", "broken.yaml", "small.yaml", "--workers", "1", cwd=folder)
    assert done.returncode == 1
    assert "FAILED: broken; give the same command again" in done.stderr
    assert (folder / "results" / "small" / "tiny" / "runs" / "vader-red-seed2" / "record.json").is_file()
    again = call("reproduce", "broken.yaml", "small.yaml", "--workers", "1", cwd=folder)
    assert again.returncode == 1, "it has not passed meanwhile"
