"""What a tuning leaves, and that an experiment keeps to it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.configs import run_config
from vader_bench import files
from vader_bench.config.schema import ExperimentConfig, RunConfig, SuiteConfig
from vader_bench.errors import ExitCode, UserError
from vader_bench.experiment.tuning.candidates import find_candidates
from vader_bench.experiment.tuning.choice import (
    CHOICE_NAME,
    TRIALS_NAME,
    check_tuning,
    chosen_at,
    findings,
    other_weights,
    write_choice,
)
from vader_bench.experiment.tuning.config import TuneConfig
from vader_bench.experiment.tuning.halving import Tuned, halve

HELD = {("vader", 1, 0.1): 2.0, ("vader", 1, 0.01): 5.0, ("vader", 2, 0.1): 3.0, ("vader", 2, 0.01): 4.0}
DIGEST = "d" * 64


def curve(config: RunConfig, queries: int) -> float:
    """VADER's second setting and DDPO's third do best."""
    settings = dict(config.settings)
    if config.label == "vader":
        return HELD["vader", settings["k"], settings["learning_rate"]]
    return 1.0 + float(settings["clip_range"]) * 10 + float(settings["learning_rate"])


@pytest.fixture
def tuned(config: TuneConfig, suite: SuiteConfig, tmp_path: Path, doing: Callable[..., Any]) -> Tuned:
    do, _ = doing(curve, **{"weights/nowhere/tiny": DIGEST})
    return halve(config, find_candidates(config, suite), tmp_path / "out", do)


@pytest.fixture
def choice(config: TuneConfig, suite: SuiteConfig, tuned: Tuned, tmp_path: Path) -> Path:
    return write_choice(config, suite, tuned, tmp_path / "out")


def test_the_choice_says_how_it_was_made(choice: Path) -> None:
    stored = yaml.safe_load(choice.read_text("utf-8"))
    assert stored["version"] == 2
    assert stored["choice"] == {
        "red": {"vader": {"k": 1, "learning_rate": 0.01}, "ddpo": {"clip_range": 0.2, "learning_rate": 0.1}}
    }
    assert stored["rungs"] == [
        {"reward_queries": 8, "seeds": 1, "keep": 2},
        {"reward_queries": 16, "seeds": 2},
    ]
    assert stored["shared"] == {"vader": {"batch_size": 4}, "ddpo": {"prompts_per_round": 2}}
    assert stored["effort"] == {"red": {"settings_per_method": 4, "queries_per_method": 96}}
    assert stored["weights"] == {"nowhere/tiny": DIGEST}
    assert stored["extended"] == {}
    assert stored["open"]["red"]["vader"] == [
        "k 1 is the smallest that was tried",
        "learning_rate 0.01 is the smallest that was tried",
    ]


def test_all_trials_of_all_rungs_are_stored(choice: Path) -> None:
    with (choice.parent / TRIALS_NAME).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["method"], row["rung"], row["trial"]) for row in rows] == [
        *(("vader", "1", str(number)) for number in range(1, 5)),
        *(("ddpo", "1", str(number)) for number in range(1, 5)),
        ("vader", "2", "2"), ("vader", "2", "4"), ("ddpo", "2", "3"), ("ddpo", "2", "4"),
    ]  # fmt: skip
    assert [row["trial"] for row in rows if row["went_on"] == "yes"] == ["2", "4", "3", "4"]
    assert [(row["rung"], row["trial"]) for row in rows if row["chosen"] == "yes"] == [("2", "2"), ("2", "3")]
    assert rows[8] == {
        "suite": "tiny",
        "reward": "red",
        "method": "vader",
        "trial": "2",
        "settings": '{"k": 1, "learning_rate": 0.01}',
        "rung": "2",
        "queries": "16",
        "seeds": "1000 1001",
        "mean_over_looks": "5",
        "end": "5",
        "base": "1",
        "truth_gain": "-0.4",
        "prompt_share_gain": "0",
        "seeds_below_base": "",
        "device_seconds": "3",
        "went_on": "",
        "chosen": "yes",
    }


def test_what_is_chosen_and_what_is_open_is_said(tuned: Tuned) -> None:
    assert list(findings(tuned)) == [
        "red, vader: k 1, learning_rate 0.01; mean over looks 5, end 5, base model 1",
        "  open: k 1 is the smallest that was tried",
        "  open: learning_rate 0.01 is the smallest that was tried",
        "red, ddpo: clip_range 0.2, learning_rate 0.1; mean over looks 3.1, end 3.1, base model 1",
        "  open: clip_range 0.2 is the largest that was tried",
        "  open: learning_rate 0.1 is the largest that was tried",
    ]


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
    return run_config(settings={"k": 1, "learning_rate": 0.01, "lora_rank": 16, "batch_size": 4} | settings)


def test_an_experiment_with_the_chosen_settings_passes(choice: Path) -> None:
    base = run_config(method="base", settings={})
    check_tuning(experiment(), [choice], [base, chosen_run()])


def test_every_setting_that_was_not_chosen_is_reported(choice: Path) -> None:
    with pytest.raises(UserError) as caught:
        check_tuning(experiment(), [choice], [chosen_run(k=2, learning_rate=0.1)])
    assert str(caught.value).splitlines() == [
        "experiment fig: methods.vader.by_reward.red.k: is 2, and 1 was chosen; write 1",
        "experiment fig: methods.vader.by_reward.red.learning_rate: is 0.1, and 0.01 was chosen; write 0.01",
    ]


def test_a_setting_that_all_trials_shared_is_held_to(choice: Path) -> None:
    with pytest.raises(UserError, match=r"red.batch_size: is 2, and 4 was tuned with; write 4"):
        check_tuning(experiment(), [choice], [chosen_run(batch_size=2)])


def test_the_budget_that_it_was_chosen_at_is_that_of_the_last_rung(choice: Path) -> None:
    assert chosen_at(choice) == ("tiny", 16)


def test_a_method_that_was_not_tuned_is_reported(choice: Path) -> None:
    run = run_config(method="diffusion-dpo", settings={"beta": 1.0})
    with pytest.raises(
        UserError, match=r"methods.diffusion-dpo: on red: diffusion-dpo was not tuned in .*; tune it, or take"
    ):
        check_tuning(experiment(), [choice], [run])


def test_a_search_with_a_name_of_its_own_is_found_by_it(choice: Path) -> None:
    data = yaml.safe_load(choice.read_text("utf-8"))
    for part in (data["shared"], data["choice"]["red"]):
        part["mine"] = part.pop("vader")
    del data["sha256"]
    data["sha256"] = files.sha256_text(files.canonical_json(data))
    choice.write_text(yaml.safe_dump(data), "utf-8")
    check_tuning(experiment(), [choice], [chosen_run().model_copy(update={"arm": "mine"})])
    with pytest.raises(UserError, match=r"methods.mine.by_reward.red.k: is 2, and 1 was chosen"):
        check_tuning(experiment(), [choice], [chosen_run(k=2).model_copy(update={"arm": "mine"})])


def test_a_missing_result_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist; run `vader-bench tune") as caught:
        check_tuning(experiment(), [tmp_path / CHOICE_NAME], [chosen_run()])
    assert caught.value.exit_code == ExitCode.MISSING


def test_a_choice_that_was_changed_by_hand_is_refused(choice: Path) -> None:
    choice.write_text(choice.read_text("utf-8").replace("k: 1", "k: 2"), "utf-8")
    with pytest.raises(UserError, match="is not as the tuning wrote it; restore the file, or tune again"):
        check_tuning(experiment(), [choice], [chosen_run(k=2)])


def test_a_choice_of_version_1_is_read_and_names_no_weights(tmp_path: Path, suite: SuiteConfig) -> None:
    """As the committed one is written, with its digest over everything else."""
    data: dict[str, Any] = {
        "version": 1,
        "suite": "tiny",
        "seed": 1000,
        "trials_per_method": 4,
        "reward_queries_per_trial": 8,
        "choice": {"red": {"vader": {"k": 1, "learning_rate": 0.01}}},
    }
    data["sha256"] = files.sha256_text(files.canonical_json(data))
    path = tmp_path / CHOICE_NAME
    path.write_text(yaml.safe_dump(data, sort_keys=False), "utf-8")
    check_tuning(experiment(), [path], [chosen_run()])
    assert other_weights(path, suite, ["red"]) == []
    assert chosen_at(path) == ("tiny", None)


def test_methods_may_be_tuned_in_different_results(choice: Path, tmp_path: Path) -> None:
    data: dict[str, Any] = {
        "version": 1,
        "suite": "tiny",
        "choice": {"red": {"raft": {"learning_rate": 0.5}, "vader": {"k": 9}}},
    }
    data["sha256"] = files.sha256_text(files.canonical_json(data))
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(data), "utf-8")
    right, wrong = (run_config(method="raft", settings={"learning_rate": rate}) for rate in (0.5, 0.1))
    check_tuning(experiment(), [choice, other], [chosen_run(), right])
    with pytest.raises(
        UserError, match=r"methods.raft.by_reward.red.learning_rate: is 0.1, and 0.5 was chosen"
    ):
        check_tuning(experiment(), [choice, other], [chosen_run(), wrong])
    with pytest.raises(UserError, match=r"raft was not tuned in .*choice.yaml; tune it"):
        check_tuning(experiment(), [choice], [right])


def test_a_single_result_and_none_are_lists() -> None:
    """Experiments that older versions resolved say null."""
    said = experiment().model_dump(mode="json")
    assert said["tuning"] == [CHOICE_NAME]
    for given, read in ((None, []), ("a.yaml", ["a.yaml"]), (["a.yaml", "b.yaml"], ["a.yaml", "b.yaml"])):
        assert ExperimentConfig.model_validate(said | {"tuning": given}).tuning == read


def test_other_weights_than_those_it_was_made_with_are_named(
    config: TuneConfig, tuned: Tuned, tmp_path: Path, choice: Path, suite: SuiteConfig
) -> None:
    weights = tmp_path / "model"
    weights.mkdir()
    (weights / "a.bin").write_bytes(b"1")
    named = {"family": "modelscope", "settings": {"weights": str(weights), "frames": 4}}
    here = SuiteConfig.model_validate(suite.model_dump() | {"backbone": named})
    assert other_weights(choice, here, ["red"]) == [str(weights)]
    with pytest.raises(UserError, match="are neither a folder nor a file here"):
        other_weights(choice, suite, ["red"])
