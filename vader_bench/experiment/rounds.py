"""Whole rounds: looks cut none of an arm, which would run in another form than it was tuned in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from math import lcm

from vader_bench.config.schema import ExperimentConfig
from vader_bench.config.yamlfile import AtFaultError, Fault
from vader_bench.experiment.arms import ArmConfig

__all__ = ["cut_rounds", "round_faults"]


def round_faults(experiment: ExperimentConfig, arms: Sequence[ArmConfig]) -> Iterator[Fault]:
    """Yield what is wrong with the looks of ``experiment``, as ``cut_rounds`` does."""
    with suppress(AtFaultError):
        every, rewards = experiment.evaluation.every, experiment.rewards
        rounds = [
            (arm.name, reward, settings.round_queries)
            for arm in arms
            for reward, settings in arm.settings.items()
            if reward in rewards
        ]
        yield from cut_rounds(every, rounds)


def cut_rounds(every: int, rounds: Iterable[tuple[str, str, int]]) -> Iterator[Fault]:
    """Yield a fault for each arm and size of rounds that looks would cut.

    Args:
        every: reward queries between two looks. Budgets are multiples of it, which is checked elsewhere.
        rounds: arms, rewards, and the queries of their rounds.
    """
    sizes: set[int] = set()
    cut: dict[tuple[str, int], list[str]] = {}
    for arm, reward, queries in dict.fromkeys(rounds):
        sizes.add(queries)
        if every % queries:
            cut.setdefault((arm, queries), []).append(reward)
    remedy = f"choose a multiple of {lcm(*sizes)}, and a budget that is one of it"
    for (arm, queries), cut_on in cut.items():
        wrong = f"is {every}, which cuts rounds of {queries} queries of {arm} on {', '.join(cut_on)}"
        yield Fault("evaluation.every", wrong, remedy)
