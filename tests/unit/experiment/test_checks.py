"""Runs that differ in anything but the method are refused, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vader_bench.errors import UserError
from vader_bench.experiment.checks import resolved_settings
from vader_bench.experiment.load import load_experiment

pytestmark = pytest.mark.usefixtures("known_names")


def test_settings_by_reward_override_the_plain_ones() -> None:
    settings = {"learning_rate": 0.1, "k": 1, "by_reward": {"action": {"k": 3}}}
    assert resolved_settings("vader", settings, "action")["k"] == 3
    assert resolved_settings("vader", settings, "aesthetic")["k"] == 1
    with pytest.raises(UserError, match="settings of vader for action: k: is 0; it must be at least 1"):
        resolved_settings("vader", {"learning_rate": 0.1, "k": 0}, "action")


def test_registered_names_are_read_from_the_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    from vader_bench.experiment import checks

    assert {"vader", "ddpo", "diffusion-dpo"} <= set(checks._methods())
    backbones, rewards = checks._families()
    assert "modelscope" in backbones
    assert rewards


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
    assert load_experiment(write_files()).needed_rewards == ["aesthetic", "action"]
