"""Every learned reward of the pocket suite has a truth, and is loaded as the suite loads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vader_bench.experiment.load import load_suite
from vader_bench.pretrain.learners import LEARNERS, ROUNDS, folder_of, load_reward, load_truth
from vader_bench.weights.resolve import PACKAGED


@pytest.mark.parametrize("name", LEARNERS)
def test_settings_are_those_of_the_suite(name: str) -> None:
    component = load_suite("pocket").rewards[name]
    assert component.family == name
    settings = LEARNERS[name].settings(f"pocket/{LEARNERS[name].part}")
    assert settings.keys() == component.settings.keys()
    for key in settings.keys() - {"clip"}:
        assert settings[key] == component.settings[key]


@pytest.mark.parametrize("name", LEARNERS)
def test_its_truth_is_a_reward_that_no_method_can_climb(name: str) -> None:
    truth = load_truth(name)
    assert truth.name == LEARNERS[name].truth
    assert not truth.differentiable
    assert truth.modules() == []


def test_adversaries_raise_the_logarithm_of_an_action() -> None:
    """As when the packaged rewards were made: what is built again would not be they otherwise."""
    assert load_reward("action", PACKAGED)._objective == "log-probability"  # type: ignore[attr-defined]


def test_the_last_round_ends_in_the_folder_of_the_weights() -> None:
    work, out = Path("work"), Path("out")
    places = [folder_of(work, out, round_) for round_ in range(ROUNDS)]
    assert places == [work / "rewards-0", work / "rewards-1", out]
