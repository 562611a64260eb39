"""The settings that a tuning tries, as runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.configs import PROMPTS
from vader_bench.config.schema import SuiteConfig
from vader_bench.errors import UserError
from vader_bench.experiment.tuning.candidates import find_candidates
from vader_bench.experiment.tuning.config import TuneConfig

Load = Callable[[dict[str, Any]], TuneConfig]


def test_candidates_train_on_development_prompts(
    load: Load, tune_data: dict[str, Any], suite: SuiteConfig
) -> None:
    tune_data["methods"]["vader"]["extend"] = [{"k": 2, "learning_rate": 1.0}]
    tune_data["methods"]["ddpo"]["extend"] = [{"clip_range": 0.2, "learning_rate": 1.0}]
    found = find_candidates(load(tune_data), suite)
    assert [(*one.arm, one.number, one.extension) for one in found] == [
        ("red", method, number, number == 5) for method in ("vader", "ddpo") for number in range(1, 6)
    ]
    assert found[1].varied == {"k": 1, "learning_rate": 0.01}
    assert {one.config.prompts for one in found} == {f"{PROMPTS}:dev"}
    settings = dict(found[0].config.settings)
    assert (settings["batch_size"], settings["lora_rank"]) == (4, 16)


def test_a_trial_has_a_run_for_each_seed_of_its_rung(config: TuneConfig, suite: SuiteConfig) -> None:
    candidate = find_candidates(config, suite)[2]
    trial = candidate.trial(2, config.ladder[1])
    assert [job.folder for job in trial.jobs(Path("out"))] == [
        Path("out/runs") / f"vader-red-trial3-rung2-seed{seed}" for seed in (1000, 1001)
    ]
    assert [(run.seed, run.reward_queries) for run in trial.runs] == [(1000, 16), (1001, 16)]
    assert candidate.trial(1, config.ladder[0]).seeds == (1000,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rewards": ["blue"]},
            "rewards: names 'blue', which is no reward of suite tiny; choose one of: red",
        ),
        ({"methods": {"vader": {"grid": {"kay": [1, 2, 3]}}}}, "kay"),
        (
            {"methods": {"vader": {"grid": {"lora_rank": [2, 4, 8]}}}},
            "tries several values of lora_rank",
        ),
        (
            {"methods": {"vader": {"settings": {"batch_size": 6}, "grid": {"k": [1, 2, 3]}}}},
            "every: is 8, which cuts rounds of 6 queries of vader on red; choose a multiple of 6",
        ),
    ],
)
def test_trials_that_cannot_be_are_refused(
    change: dict[str, Any], message: str, load: Load, tune_data: dict[str, Any], suite: SuiteConfig
) -> None:
    config = load(tune_data | change)
    with pytest.raises(UserError) as caught:
        find_candidates(config, suite)
    assert message in str(caught.value)
