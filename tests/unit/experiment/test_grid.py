from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.faults import lines_of
from vader_bench.config.schema import SuiteConfig
from vader_bench.experiment.grid import expand
from vader_bench.experiment.load import load_experiment, load_suite

pytestmark = pytest.mark.usefixtures("known_names")


Data = dict[str, Any]


Write = Callable[[], Path]


def test_expand_makes_the_grid(write_files: Write) -> None:
    experiment = load_experiment(write_files())
    runs = expand(experiment, load_suite("small"))
    assert [run.name for run in runs] == [
        "base-aesthetic-seed0", "base-action-seed0",
        "vader-aesthetic-seed0", "ddpo-aesthetic-seed0", "vader-action-seed0", "ddpo-action-seed0",
        "vader-aesthetic-seed1", "ddpo-aesthetic-seed1", "vader-action-seed1", "ddpo-action-seed1",
    ]  # fmt: skip
    assert {run.prompts for run in runs if run.reward == "action"} == {"pocket-looks"}
    assert {run.reward_queries for run in runs if run.method != "base"} == {128}
    assert {run.reward_queries for run in runs if run.method == "base"} == {0}
    assert len(expand(experiment, load_suite("small"), with_base=False)) == 8


def test_expand_resolves_settings(write_files: Write) -> None:
    runs = {run.name: run for run in expand(load_experiment(write_files()), load_suite("small"))}
    vader = {"learning_rate": 0.001, "lora_rank": 16, "k": 1}
    assert runs["vader-aesthetic-seed0"].settings == vader
    assert runs["vader-action-seed1"].settings == vader | {"k": 2}
    assert runs["ddpo-action-seed0"].settings["betas"] == [0.9, 0.999]
    assert runs["base-action-seed0"].settings == {}


def test_expand_refuses_an_experiment_of_another_suite(write_files: Write, suite_data: Data) -> None:
    experiment = load_experiment(write_files())
    del suite_data["rewards"]["action"], suite_data["prompts"]["action"]
    suite = SuiteConfig.model_validate(suite_data)
    found = lines_of(lambda: expand(experiment, suite))
    assert found[0].startswith("experiment fig: rewards: names 'action', which is no reward of suite small")


def test_unequal_rank_is_refused(write_files: Write, experiment_data: Data) -> None:
    experiment_data["methods"]["ddpo"]["lora_rank"] = 8
    experiment = load_experiment(write_files())
    found = lines_of(lambda: expand(experiment, load_suite("small")))
    assert found[0].startswith("not a fair comparison: ddpo-aesthetic-seed0: differs from vader-aesthetic")
