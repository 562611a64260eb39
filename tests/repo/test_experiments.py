"""Packaged experiments that share trainings ask for the same ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vader_bench.experiment.grid import expand
from vader_bench.experiment.load import load_experiment

ROOT = Path(__file__).parents[2]


Training = tuple[str, dict[str, Any], int]
"""Method, settings and budget."""


def trained(name: str) -> dict[tuple[str, str, int], Training]:
    """Return every training of an experiment, by arm, reward and seed."""
    runs = expand(load_experiment(ROOT / "experiments" / f"{name}.yaml", False, None))
    return {
        (run.label, run.reward, run.seed): (run.method, run.settings.model_dump(), run.reward_queries)
        for run in runs
        if run.reward_queries
    }


def test_the_middle_step_sizes_of_overoptimisation_are_the_arms_of_methods() -> None:
    whole, part = trained("overoptimisation"), trained("methods")
    assert {key: whole[key] for key in part} == part
    assert len(whole) == 3 * len(part)


def test_an_arm_differs_from_the_middle_one_in_its_learning_rate_alone() -> None:
    found = trained("overoptimisation")
    for (arm, reward, seed), (method, settings, _) in found.items():
        middle = found[method, reward, seed][1]
        factor = {"small": 1 / 3, "large": 3.0}.get(arm.rpartition("-")[2], 1.0)
        assert 0.85 < settings["learning_rate"] / middle["learning_rate"] / factor < 1.15
        assert settings | {"learning_rate": 0} == middle | {"learning_rate": 0}
