"""Whole rounds: looks cut none of an arm, which would run in another form than it was tuned in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from math import lcm

from vader_bench.config.schema import ExperimentConfig
from vader_bench.config.yamlfile import AtFaultError, Fault
from vader_bench.experiment.arms import ArmConfig

__all__ = ["round_faults"]


def round_faults(experiment: ExperimentConfig, arms: Sequence[ArmConfig]) -> Iterator[Fault]:
    """Yield a fault for each arm and size of rounds that ``evaluation.every`` is no multiple of.

    The budget is a multiple of ``evaluation.every``, which is checked elsewhere.
    """
    with suppress(AtFaultError):
        every, rewards = experiment.evaluation.every, experiment.rewards
        rounds = {
            (arm.name, reward): settings.round_queries
            for arm in arms
            for reward, settings in arm.settings.items()
            if reward in rewards
        }
        cut: dict[tuple[str, int], list[str]] = {}
        for (arm, reward), queries in rounds.items():
            if every % queries:
                cut.setdefault((arm, queries), []).append(reward)
        remedy = f"choose a multiple of {lcm(*rounds.values())}, and a budget that is one of it"
        for (arm, queries), cut_on in cut.items():
            wrong = f"is {every}, which cuts rounds of {queries} queries of {arm} on {', '.join(cut_on)}"
            yield Fault("evaluation.every", wrong, remedy)
