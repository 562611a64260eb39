"""Looks and budgets cut no arm's round."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.faults import lines_of
from vader_bench.config.schema import ArmEntry
from vader_bench.experiment.arms import SettingsReader, read_arms
from vader_bench.experiment.load import load_experiment, load_suite, place, suite_names
from vader_bench.experiment.rounds import round_faults
from vader_bench.experiment.tuning.candidates import find_candidates
from vader_bench.experiment.tuning.config import load_tune

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
ROUNDS = {"aesthetic": 2, "hps": 2, "action": 4}
"""Prompts of a round of DDPO, four videos each."""


METHODS = {
    "vader": {},
    "ddpo": {"by_reward": {name: {"prompts_per_round": n} for name, n in ROUNDS.items()}},
    "diffusion-dpo": {},
}


def of_fig7(every: int, queries: int) -> Callable[[], object]:
    """Return what places fig7 with ``METHODS``, other looks and another budget."""
    experiment = load_experiment(EXPERIMENTS / "fig7.yaml").config
    changes: dict[str, Any] = {
        "methods": {name: ArmEntry.model_validate(arm) for name, arm in METHODS.items()},
        "evaluation": experiment.evaluation.model_copy(update={"every": every}),
        "budget": experiment.budget.model_copy(update={"reward_queries": queries}),
    }
    changed = experiment.model_copy(update=changes)
    return lambda: place(changed, load_suite("pocket"))


def test_looks_that_cut_a_round_are_refused_with_the_arm_and_a_number_that_does() -> None:
    """As they were when fig7 was run: rounds of 16, 8, 16, 8 on the action."""
    (line,) = lines_of(of_fig7(24, 72))
    assert line == (
        "experiment fig7: evaluation.every: is 24, which cuts rounds of 16 queries of ddpo on action; "
        "choose a multiple of 16, and a budget that is one of it"
    )


def test_every_arm_and_size_is_named() -> None:
    assert [line.partition("; ")[0] for line in lines_of(of_fig7(4, 64))] == [
        f"experiment fig7: evaluation.every: is 4, which cuts rounds of {size} queries of {arm} on {rewards}"
        for arm, size, rewards in [
            ("vader", 8, "aesthetic, hps, action"),
            ("ddpo", 8, "aesthetic, hps"),
            ("ddpo", 16, "action"),
            ("diffusion-dpo", 8, "aesthetic, hps, action"),
        ]
    ]


@pytest.mark.parametrize(("every", "queries"), [(16, 64), (32, 64), (48, 96)])
def test_whole_rounds_pass(every: int, queries: int) -> None:
    of_fig7(every, queries)()


@pytest.mark.parametrize("quick", [False, True])
def test_the_packaged_experiments_ask_for_whole_rounds(quick: bool) -> None:
    for path in sorted(EXPERIMENTS.glob("*.yaml")):
        if not path.stem.startswith("tune"):
            loaded = load_experiment(path, quick)
            rounds = {settings.round_queries for arm in loaded.arms for settings in arm.settings.values()}
            assert rounds
            assert all(loaded.config.evaluation.every % queries == 0 for queries in rounds), path.stem


def test_they_do_so_on_every_other_suite_too() -> None:
    """There arms keep only what is compared, and take the suite's settings or the defaults."""
    suites, refused = {name: load_suite(name) for name in suite_names()}, []
    for path in sorted(EXPERIMENTS.glob("*.yaml")):
        if path.stem.startswith("tune"):
            continue
        experiment = load_experiment(path).config
        methods = {name: arm.only(experiment.compares) for name, arm in experiment.methods.items()}
        for name, suite in suites.items():
            rewards = [reward for reward in experiment.rewards if reward in suite.rewards]
            moved = experiment.model_copy(update={"methods": methods, "rewards": rewards})
            if name != experiment.suite and rewards:
                arms, _ = read_arms(moved, suite, SettingsReader())
                refused += [f"{path.stem} on {name}: {fault}" for fault in round_faults(moved, arms)]
    assert refused == []


@pytest.mark.parametrize(("name", "settings"), [("tune", 3 * 3 * 15), ("tune-methods", 4 * 3 * 15)])
def test_trials_of_a_tuning_have_whole_rounds_too(name: str, settings: int) -> None:
    tune = load_tune(EXPERIMENTS / f"{name}.yaml")
    found = find_candidates(tune, load_suite("pocket"))
    assert len(found) == settings
    largest = max(candidate.config.settings.round_queries for candidate in found)
    cut = tune.model_copy(update={"evaluation": tune.evaluation.model_copy(update={"every": largest // 2})})
    lines = lines_of(lambda: find_candidates(cut, load_suite("pocket")))
    assert all("evaluation.every: is " in line and f"a multiple of {largest}" in line for line in lines)
    assert lines
