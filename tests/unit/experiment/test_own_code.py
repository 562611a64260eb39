"""A method, a reward and a backbone in files of the user's: checked, run, and told apart by their content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cli.conftest import call, experiment_data, write_project, write_yaml
from vader_bench.cli import main
from vader_bench.config.schema import RunConfig
from vader_bench.experiment.load import load_suite
from vader_bench.experiment.resolve import resolve_experiment
from vader_bench.experiment.tuning.candidates import find_candidates
from vader_bench.experiment.tuning.config import load_tune
from vader_bench.records.record_file import read_record
from vader_bench.training.identity import training_depends_on, training_key

METHOD = '''
"""VADER with half of its step."""
from pydantic import Field
from vader_bench.methods.vader import Vader, VaderConfig

class HalfConfig(VaderConfig):
    share: float = Field(default=0.5, gt=0, le=1)

class Half(Vader):
    Config = HalfConfig
    def loss(self, judgement):
        return self.config.share * super().loss(judgement)

class Unready(Vader):
    step = None

class Other: ...
'''
REWARD = """
from vader_bench.rewards import Judgement, Reward

class Blueness(Reward):
    name, units, value_range, source = "blueness", "mean of blue", (0.0, 1.0), "a formula"
    def __init__(self, scale: float = 1.0):
        self.scale = scale
    def judge(self, video, prompts):
        score = self.scale * video[:, :, 2].mean((1, 2, 3))
        return Judgement(score, score)
"""
BACKBONE = """
from vader_bench.backbones.modelscope import ModelScopeFactory

class Mine(ModelScopeFactory): ...
"""


class Own:
    """A project with code of its own, in files that a test changes."""

    def __init__(self, folder: Path, pipeline: Path) -> None:
        self.folder = folder
        self.path = write_project(folder, pipeline)
        (folder / "code").mkdir()
        for name, text in (("half", METHOD), ("code/blue", REWARD), ("backbone", BACKBONE)):
            (folder / f"{name}.py").write_text(text, "utf-8")
        self.suite: dict[str, Any] = yaml.safe_load((folder / "tiny.yaml").read_text("utf-8"))
        self.suite["rewards"]["blue"] = {"family": "code/blue.py:Blueness", "settings": {"scale": 2.0}}
        self.suite["backbone"]["family"] = "./backbone.py:Mine"
        self.experiment = experiment_data()
        self.experiment |= {"rewards": ["blue"], "seeds": [1]}
        vader = self.experiment["methods"]["vader"]
        self.experiment["methods"] = {
            "vader": vader,
            "half": {**vader, "method": "half.py:Half", "share": 0.25},
        }

    def written(self) -> Path:
        write_yaml(self.folder / "tiny.yaml", self.suite)
        return write_yaml(self.path, self.experiment)

    def run(self) -> RunConfig:
        """Return the run of the own method."""
        runs = resolve_experiment(self.written(), with_weights=False).runs
        return next(run for run in runs if run.label == "half")


@pytest.fixture
def own(tmp_path: Path, tiny_pipeline: Path) -> Own:
    return Own(tmp_path, tiny_pipeline)


def test_own_code_is_read_relative_to_its_file_and_recorded_as_written(
    own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    run = own.run()
    assert (run.method, type(run.settings).__name__) == (f"{own.folder}/half.py:Half", "HalfConfig")
    assert run.settings.model_dump()["share"] == 0.25
    said = run.model_dump(mode="json")
    assert said["method"] == "half.py:Half"
    assert said["suite"]["rewards"]["blue"]["family"] == "code/blue.py:Blueness"
    assert said["suite"]["backbone"]["family"] == "./backbone.py:Mine"
    weights = said["suite"]["backbone"]["settings"].pop("weights")
    assert weights == own.suite["backbone"]["settings"]["weights"]
    assert str(own.folder) not in str(said)


@pytest.mark.parametrize("name", ["half.py", "code/blue.py", "backbone.py"])
def test_a_changed_file_is_another_training(own: Own, name: str) -> None:
    before = own.run()
    (own.folder / name).write_text((own.folder / name).read_text("utf-8") + "\n# changed\n", "utf-8")
    after = own.run()
    assert before.code.keys() == after.code.keys() == {"method", "reward", "backbone"}
    assert before.code != after.code
    depends_on = training_depends_on(after, "cpu")
    assert depends_on["plugins"] == after.code
    assert training_key(depends_on) != training_key(depends_on | {"plugins": before.code})


def test_the_projects_own_code_is_not_counted_again(own: Own) -> None:
    runs = resolve_experiment(own.written(), with_weights=False).runs
    assert next(run for run in runs if run.label == "vader").code.keys() == {"reward", "backbone"}


def test_the_code_of_a_judge_is_counted_and_that_of_the_reward_not_twice(own: Own) -> None:
    own.suite["rewards"]["azure"] = {"family": "code/blue.py:Blueness"}
    own.experiment["evaluation"]["measure"] = {"judges": ["blue", "azure"]}
    assert own.run().code.keys() == {"method", "reward", "backbone", "judge azure"}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("none.py:Half", "none.py' does not exist; give the path of a .py file"),
        ("half.py:Haf", "has no class 'Haf'; name one of: Half, HalfConfig, Other, Unready"),
        ("half.py:Other", "'half.py:Other' is no subclass of vader_bench.methods.Method"),
        ("half.py", "is 'half.py', which is no method"),
        ("bad.py:Half", "fails when it is run (NameError: name 'nothing' is not defined, line 2)"),
    ],
)
def test_faults_of_a_method_are_a_line_of_check(
    own: Own, method: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (own.folder / "bad.py").write_text("x = 1\nnothing\n", "utf-8")
    own.experiment["methods"]["half"]["method"] = method
    assert main(["check", str(own.written())]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "small.yaml: methods.half.method: " in line
    assert message in line


@pytest.mark.parametrize(
    ("key", "family", "message"),
    [
        ("rewards.blue", "none.py:Blueness", "none.py' does not exist"),
        ("rewards.blue", "code/blue.py:Blue", "has no class 'Blue'; name one of: Blueness"),
        ("rewards.blue", "half.py:Half", "'half.py:Half' is no subclass of vader_bench.rewards.Reward"),
        ("backbone", "half.py:Half", "is no subclass of vader_bench.backbones.BackboneFactory"),
    ],
)
def test_faults_of_rewards_and_backbones_are_a_line_of_check(
    own: Own, key: str, family: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    component = own.suite["backbone"] if key == "backbone" else own.suite["rewards"]["blue"]
    component["family"] = family
    assert main(["check", str(own.written())]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"small.yaml: {key}: of suite tiny: " in line
    assert message in line


def test_parts_of_a_mixture_are_no_files(own: Own, capsys: pytest.CaptureFixture[str]) -> None:
    mixed = {"parts": {"code/blue.py:Blueness": {}}, "weights": {"code/blue.py:Blueness": 1.0}}
    own.suite["rewards"]["blue"] = {"family": "mix", "settings": mixed}
    assert main(["check", str(own.written())]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "rewards.blue.settings.parts: of suite tiny: names 'code/blue.py:Blueness'" in line


def test_own_methods_are_tuned_like_the_others(own: Own) -> None:
    experiment = own.experiment
    grid = {"grid": {"learning_rate": [0.1, 0.01]}, "settings": {"batch_size": 2, "lora_rank": 2}}
    tuning = {key: experiment[key] for key in ("question", "suite", "rewards", "budget", "evaluation")}
    tuning |= {"experiment": "tune", "seed": 7}
    tuning["methods"] = {"vader": grid, "half": {**grid, "method": "half.py:Half"}}
    own.written()
    config = load_tune(write_yaml(own.folder / "tune.yaml", tuning))
    found = find_candidates(config, load_suite(config.suite))
    assert [(*candidate.arm, candidate.number) for candidate in found] == [
        ("blue", name, number) for name in ("vader", "half") for number in (1, 2)
    ]
    run = found[2].config
    assert (run.label, run.written_method, set(run.code)) == (
        "half",
        "half.py:Half",
        {"method", "reward", "backbone"},
    )
    assert str(own.folder) not in str(run.model_dump(mode="json")["method"])


def test_settings_of_own_code_are_checked(own: Own, capsys: pytest.CaptureFixture[str]) -> None:
    own.experiment["methods"]["half"]["share"] = 3.0
    own.experiment["methods"]["half"]["shares"] = 3.0
    assert main(["check", str(own.written())]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 2
    assert "methods.half.share: is 3.0; it must be at most 1" in said
    assert "methods.half.shares: is not a known key; did you mean 'share'?" in said


@pytest.mark.slow
def test_own_code_runs_in_workers_and_a_changed_method_is_not_taken_for_it(own: Own) -> None:
    done = call("run", own.written(), "--out", "results", "--workers", "1", cwd=own.folder)
    assert done.returncode == 0, done.stderr
    folder = own.folder / "results" / "small" / "tiny"
    record = read_record(folder / "runs" / "half-blue-seed1" / "record.json")
    assert (record.method, record.arm, record.label) == ("half.py:Half", "half", "half")
    assert record.config["code"].keys() == {"method", "reward", "backbone"}
    assert str(own.folder) not in (folder / "experiment.yaml").read_text("utf-8")
    again = call("run", own.path, "--out", "results", "--workers", "1", cwd=own.folder)
    assert "3 finished already" in again.stderr
    (own.folder / "half.py").write_text(METHOD.replace("share *", "share * 0.1 *"), "utf-8")
    changed = call("run", own.path, "--out", "results", "--workers", "1", cwd=own.folder)
    assert changed.returncode == 2
    assert "holds a run of another configuration (code.method" in changed.stderr
