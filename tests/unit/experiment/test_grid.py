from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.faults import lines_of
from vader_bench.experiment.grid import expand
from vader_bench.experiment.load import load_experiment

pytestmark = pytest.mark.usefixtures("known_names")


Data = dict[str, Any]


Write = Callable[[], Path]


def test_expand_makes_the_grid(write_files: Write) -> None:
    experiment = load_experiment(write_files())
    runs = expand(experiment)
    assert [run.name for run in runs] == [
        "base-aesthetic-seed0", "base-action-seed0",
        "vader-aesthetic-seed0", "ddpo-aesthetic-seed0", "vader-action-seed0", "ddpo-action-seed0",
        "vader-aesthetic-seed1", "ddpo-aesthetic-seed1", "vader-action-seed1", "ddpo-action-seed1",
    ]  # fmt: skip
    assert {run.prompts for run in runs if run.reward == "action"} == {"pocket-looks"}
    assert {run.reward_queries for run in runs if run.method != "base"} == {128}
    assert {run.reward_queries for run in runs if run.method == "base"} == {0}
    assert len(expand(experiment, with_base=False)) == 8


def test_expand_resolves_settings(write_files: Write) -> None:
    runs = {run.name: run for run in expand(load_experiment(write_files()))}
    vader = {"learning_rate": 0.001, "lora_rank": 16, "k": 1}
    settings = {name: run.model_dump(mode="json")["settings"] for name, run in runs.items()}
    assert settings["vader-aesthetic-seed0"] == vader
    assert settings["vader-action-seed1"] == vader | {"k": 2}
    assert settings["ddpo-action-seed0"]["betas"] == [0.9, 0.999]
    assert settings["base-action-seed0"] == {}


def test_unequal_rank_is_refused(write_files: Write, experiment_data: Data) -> None:
    experiment_data["methods"]["ddpo"]["lora_rank"] = 8
    experiment = load_experiment(write_files())
    found = lines_of(lambda: expand(experiment))
    assert found[0].startswith("not a fair comparison: ddpo-aesthetic-seed0: differs from vader-aesthetic")
