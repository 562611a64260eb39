"""Pairs of methods: differences, wins of seeds, Holm's correction, and who is ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from vader_bench.config.names import HELDOUT
from vader_bench.stats.aggregate import FloatArray
from vader_bench.stats.bootstrap import LEVEL, Estimate, Resampler, Sampled, no_spread
from vader_bench.stats.panel import Panel

__all__ = ["POWER", "MethodComparison", "compare_pairs", "find_winner", "holm", "smallest_found"]

SIGNIFICANT = 0.05
"""A corrected p-value below it distinguishes two methods."""
POWER = 0.8
"""Probability with which, at least, an effect must be found to be called findable."""


@dataclass(frozen=True)
class MethodComparison:
    """Two methods on one reward, at equal queries, on held-out prompts."""

    first: str
    second: str
    difference: Estimate
    """Final reward of ``first`` minus that of ``second``, paired by prompts and seeds."""
    wins: float
    """Seeds with which ``first`` ends above ``second``; equal ends count half."""
    seeds: int
    """1 where neither of them is trained here."""
    p_value: float
    """Two-sided, by the paired bootstrap, of no difference."""
    p_holm: float
    """The same after Holm's correction over the pairs of this reward."""
    smallest: float | None
    """The difference that would have been found with probability 0.8; see ``smallest_found``."""

    @property
    def ahead(self) -> str | None:
        """Return the method that is ahead by interval and by corrected p-value, if one is."""
        if self.p_holm >= SIGNIFICANT:
            return None
        if self.difference.above_zero:
            return self.first
        return self.second if self.difference.below_zero else None

    def margin(self, method: str) -> Estimate:
        """Return the final reward of ``method``, one of the two, minus that of the other."""
        gap = self.difference
        return gap if method == self.first else Estimate(-gap.value, -gap.high, -gap.low)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values after Holm's step-down correction (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def compare_pairs(panel: Panel, resampler: Resampler) -> list[MethodComparison]:
    """Return every pair of methods of ``panel`` in the experiment's order, Holm-corrected together."""
    scores = panel.splits[HELDOUT]
    final = scores.reward[:, 1]
    together = resampler.seeds_and_prompts(final, scores.prompts)
    runs = final.mean(axis=-1)
    counts = [1 if fixed else len(panel.seeds) for fixed in panel.adapters]
    indices = list(combinations(range(len(panel.methods)), 2))
    differences = [together[a] - together[b] for a, b in indices]
    p_values = [difference.p_value() for difference in differences]
    return [
        MethodComparison(
            first=panel.methods[a],
            second=panel.methods[b],
            difference=difference.estimate(),
            wins=_wins(runs[a], runs[b]) * max(counts[a], counts[b]) / len(panel.seeds),
            seeds=max(counts[a], counts[b]),
            p_value=p_value,
            p_holm=p_holm,
            smallest=smallest_found(difference, max(counts[a], counts[b]), len(indices)),
        )
        for (a, b), difference, p_value, p_holm in zip(
            indices, differences, p_values, holm(p_values), strict=True
        )
    ]


def find_winner(pairs: Sequence[MethodComparison], gains: dict[str, Estimate], seeds: int) -> str | None:
    """Return the method that is ahead of every other and of the base model, or ``None``.

    None is named from one seed, whose interval says nothing about another training run, nor where a
    method has nobody to be compared with.

    Args:
        pairs: all pairs of the methods in ``gains``.
        gains: held-out gain over the base model by method.
        seeds: number of seeds.
    """
    if seeds < 2 or len(gains) < 2:
        return None
    for method, gain in gains.items():
        own = [pair for pair in pairs if method in (pair.first, pair.second)]
        if gain.above_zero and all(pair.ahead == method for pair in own):
            return method
    return None


def smallest_found(effect: Sampled, seeds: int, comparisons: int = 1) -> float | None:
    """Return the size of ``effect`` that would have been found with probability ``POWER``.

    Found means that its 95 % interval, or with several comparisons the wider one that the strictest of them
    needs (Bonferroni, the first step of Holm's), does not hold zero. With half width h of that interval, it
    is h (1 + z(power) / z(level)). That is exact where prompts spread most, for then h is z(level) standard
    errors. Where a few seeds do, h is a t of them instead, and the probability is above ``POWER``: the
    noncentrality at which a t is found so often (Johnson and Welch 1940) is a smaller part of it.

    Args:
        effect: a gain or a difference.
        seeds: number of seeds; one says nothing about another.
        comparisons: how many are made together.

    Returns:
        The size; ``None`` with one seed, and where every resample has the same effect, which are too alike
        to say what another would have.
    """
    if seeds < 2:
        return None
    level = 1 - (1 - LEVEL) / comparisons
    low, high = effect.bounds(level)
    at_level, at_power = (float(stats.norm.ppf(share)) for share in ((1 + level) / 2, POWER))
    half = float(high - low) / 2
    return None if no_spread(float(effect.point), half) else half * (1 + at_power / at_level)


def _wins(first: FloatArray, second: FloatArray) -> float:
    return float(np.sum(first > second) + 0.5 * np.sum(first == second))
