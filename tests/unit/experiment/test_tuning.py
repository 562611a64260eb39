"""Equal tuning: the grid, the choice, and that an experiment keeps to it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.configs import PROMPTS, run_config
from vader_bench.config.schema import ExperimentConfig, RunConfig, SuiteConfig, config_digest
from vader_bench.errors import ExitCode, UserError
from vader_bench.experiment.tuning import (
    CHOICE_NAME,
    TRIALS_NAME,
    TuneConfig,
    check_tuning,
    load_tune,
    make_trials,
    write_choice,
)
from vader_bench.records.folder import RunFolder
from vader_bench.records.record import Evaluation, Record, VideoScore


@pytest.fixture
def suite() -> SuiteConfig:
    return run_config().suite


@pytest.fixture
def tune_data() -> dict[str, Any]:
    return {
        "experiment": "tune",
        "question": "Which setting?",
        "suite": "tiny",
        "rewards": ["red"],
        "seed": 1000,
        "budget": {"reward_queries": 8},
        "evaluation": {
            "every": 8,
            "prompts": 2,
            "splits": ["heldout"],
            "final_splits": ["train", "heldout"],
            "final_prompts": 3,
        },
        "methods": {
            "vader": {"settings": {"batch_size": 4}, "grid": {"k": [1, 2], "learning_rate": [0.1, 0.01]}},
            "ddpo": {
                "settings": {"prompts_per_round": 2},
                "grid": {"clip_range": [0.1, 0.2], "learning_rate": [0.1, 0.01]},
            },
        },
    }


def write(path: Path, data: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(data, sort_keys=False), "utf-8")
    return path


@pytest.fixture
def config(tmp_path: Path, tune_data: dict[str, Any]) -> TuneConfig:
    return load_tune(write(tmp_path / "tune.yaml", tune_data))


def finish(config: RunConfig, folder: Path, train: float, heldout: float) -> None:
    """Make the record of a trial that raised the held-out reward from 1 to ``heldout``."""

    def look(split: str, queries: int, reward: float) -> Evaluation:
        scores = [
            VideoScore(prompt=f"p{i}", sample=0, reward=reward + shift) for i, shift in enumerate((-1, 1))
        ]
        return Evaluation(split=split, queries=queries, flops=0, device_seconds=0, scores=scores)

    with RunFolder(folder).open(config) as run:
        run.write_record(
            Record(
                experiment="tune",
                suite="tiny",
                method=config.method,
                reward=config.reward,
                seed=config.seed,
                config=config.model_dump(mode="json"),
                config_digest=config_digest(config),
                ledger={"reward_queries": 8, "device_seconds": 1.5},
                evaluations=[
                    look("train", 0, 1.0),
                    look("heldout", 0, 1.0),
                    look("train", 8, train),
                    look("heldout", 8, heldout),
                ],
                digests={},
                packages={},
                machine={},
                git={},
            )
        )


@pytest.fixture
def choice(config: TuneConfig, suite: SuiteConfig, tmp_path: Path) -> Path:
    """The choice after trials in which VADER's second and DDPO's third and fourth do best."""
    trials = make_trials(config, suite)
    for trial, heldout in zip(trials, (2.0, 5.0, 3.0, 4.0, 1.0, 2.0, 6.0, 6.0), strict=True):
        finish(trial.config, trial.job(tmp_path / "out").folder, 10 - heldout, heldout)
    return write_choice(config, suite, trials, tmp_path / "out")


def test_every_combination_is_a_trial_on_development_prompts(config: TuneConfig, suite: SuiteConfig) -> None:
    trials = make_trials(config, suite)
    assert [trial.name for trial in trials] == [
        *(f"vader-red-trial{i}" for i in range(1, 5)),
        *(f"ddpo-red-trial{i}" for i in range(1, 5)),
    ]
    assert [trial.varied for trial in trials[:4]] == [
        {"k": 1, "learning_rate": 0.1},
        {"k": 1, "learning_rate": 0.01},
        {"k": 2, "learning_rate": 0.1},
        {"k": 2, "learning_rate": 0.01},
    ]
    assert {trial.config.prompts for trial in trials} == {f"{PROMPTS}:dev"}
    assert {trial.config.seed for trial in trials} == {1000}
    assert {trial.config.reward_queries for trial in trials} == {8}
    settings = dict(trials[0].config.settings)
    assert (settings["batch_size"], settings["lora_rank"]) == (4, 16)


def test_all_faults_of_a_file_are_reported_at_once(tmp_path: Path, tune_data: dict[str, Any]) -> None:
    tune_data |= {"sead": 3, "seed": "one"}
    tune_data["methods"]["ddpo"]["grid"]["clip_range"] = [0.1]
    with pytest.raises(UserError) as caught:
        load_tune(write(tmp_path / "tune.yaml", tune_data))
    text = str(caught.value)
    assert "sead: is not a known key; did you mean 'seed'?" in text
    assert "seed: is 'one', not a whole number" in text


def test_grids_of_different_size_are_refused(tmp_path: Path, tune_data: dict[str, Any]) -> None:
    tune_data["methods"]["ddpo"]["grid"]["clip_range"] = [0.1]
    with pytest.raises(UserError, match=r"different numbers of trials \(vader 4, ddpo 2\)"):
        load_tune(write(tmp_path / "tune.yaml", tune_data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": ["blue"]}, "names 'blue', which is not in tiny; choose one of: red"),
        ({"methods": {"vader": {"grid": {"kay": [1]}}}}, "kay"),
        ({"methods": {"vader": {"grid": {"lora_rank": [2, 4]}}}}, "tries several values of lora_rank"),
    ],
)
def test_trials_that_cannot_be_are_refused(
    change: dict[str, Any], message: str, tmp_path: Path, tune_data: dict[str, Any], suite: SuiteConfig
) -> None:
    config = load_tune(write(tmp_path / "tune.yaml", tune_data | change))
    with pytest.raises(UserError, match=message):
        make_trials(config, suite)


def test_the_best_held_out_reward_is_chosen_and_the_first_of_equals(choice: Path) -> None:
    stored = yaml.safe_load(choice.read_text("utf-8"))
    assert stored["choice"] == {
        "red": {"vader": {"k": 1, "learning_rate": 0.01}, "ddpo": {"clip_range": 0.2, "learning_rate": 0.1}}
    }
    assert stored["trials_per_method"] == 4
    assert stored["reward_queries_per_trial"] == 8


def test_every_trial_is_stored(choice: Path) -> None:
    with (choice.parent / TRIALS_NAME).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8
    assert [row["trial"] for row in rows if row["chosen"] == "yes"] == ["2", "3"]
    assert rows[1] | {"device_seconds": ""} == {
        "suite": "tiny",
        "reward": "red",
        "method": "vader",
        "trial": "2",
        "settings": '{"k": 1, "learning_rate": 0.01}',
        "seed": "1000",
        "queries": "8",
        "train_reward": "5",
        "heldout_reward": "5",
        "base_heldout_reward": "1",
        "device_seconds": "",
        "chosen": "yes",
    }


def experiment() -> ExperimentConfig:
    return ExperimentConfig.model_validate(
        {
            "experiment": "fig",
            "question": "Which?",
            "suite": "tiny",
            "rewards": ["red"],
            "methods": {"vader": {}},
            "tuning": CHOICE_NAME,
            "seeds": [1],
            "budget": {"reward_queries": 8},
            "evaluation": run_config().evaluation.model_dump(),
        }
    )


def chosen_run(**settings: Any) -> RunConfig:
    return run_config(settings={"k": 1, "learning_rate": 0.01, "lora_rank": 16} | settings)


def test_an_experiment_with_the_chosen_settings_passes(choice: Path) -> None:
    base = run_config(method="base", settings={})
    check_tuning(experiment(), choice, [base, chosen_run()])


def test_every_setting_that_was_not_chosen_is_reported(choice: Path) -> None:
    with pytest.raises(UserError) as caught:
        check_tuning(experiment(), choice, [chosen_run(k=2, learning_rate=0.1)])
    assert str(caught.value).splitlines() == [
        "experiment fig: methods.vader.by_reward.red.k: is 2, and 1 was chosen; write 1",
        "experiment fig: methods.vader.by_reward.red.learning_rate: is 0.1, and 0.01 was chosen; write 0.01",
    ]


def test_a_method_that_was_not_tuned_is_reported(choice: Path) -> None:
    run = run_config(method="diffusion-dpo", settings={"beta": 1.0})
    with pytest.raises(
        UserError, match=r"methods.diffusion-dpo: on red: diffusion-dpo was not tuned in .*; tune it, or take"
    ):
        check_tuning(experiment(), choice, [run])


def test_a_missing_result_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist; run `vader-bench tune") as caught:
        check_tuning(experiment(), tmp_path / CHOICE_NAME, [chosen_run()])
    assert caught.value.exit_code == ExitCode.MISSING


def test_a_choice_that_was_changed_by_hand_is_refused(choice: Path) -> None:
    choice.write_text(choice.read_text("utf-8").replace("k: 1", "k: 2"), "utf-8")
    with pytest.raises(UserError, match="is not as the tuning wrote it; restore the file, or tune again"):
        check_tuning(experiment(), choice, [chosen_run(k=2)])
