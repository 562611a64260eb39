"""What an experiment and its suite name must exist and fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vader_bench.errors import UserError
from vader_bench.experiment.load import load_experiment

pytestmark = pytest.mark.usefixtures("known_names")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"target": {"arm": "vadr", "queries": 64}},
            "target.arm: is 'vadr', which is no arm of the experiment",
        ),
        (
            {"target": {"arm": "vader", "queries": 65}},
            "target.queries: is 65, after which nothing is looked at",
        ),
        ({"target": {"arm": "vader", "queries": 256}}, "a multiple of evaluation.every .64., at most 128"),
    ],
)
def test_a_target_must_be_one_that_can_be_reached(
    write_files: Callable[[], Path], experiment_data: dict[str, Any], fields: dict[str, Any], told: str
) -> None:
    experiment_data |= fields
    with pytest.raises(UserError, match=told):
        load_experiment(write_files())


def test_judges_must_be_rewards_of_the_suite(
    write_files: Callable[[], Path], experiment_data: dict[str, Any]
) -> None:
    experiment_data["evaluation"]["measure"] = {"judges": ["action", "taste"]}
    with pytest.raises(
        UserError, match=r"evaluation\.measure\.judges: names 'taste', which is no reward of suite"
    ):
        load_experiment(write_files())
    experiment_data["evaluation"]["measure"] = {"judges": ["action"]}
    assert load_experiment(write_files()).config.needed_rewards == ["aesthetic", "action"]
