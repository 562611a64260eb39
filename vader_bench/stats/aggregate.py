"""Pure functions from scores to one number: over seeds, along a curve, over samples of one prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import comb

__all__ = [
    "FEW_SEEDS",
    "FloatArray",
    "aggregate_name",
    "area_under_curve",
    "expected_best",
    "first_reach",
    "over_seeds",
    "ratio",
    "speed_up",
    "spent",
    "value_at",
]

FloatArray: TypeAlias = npt.NDArray[np.float64]

FEW_SEEDS = 5
"""Below this number of seeds the plain mean is taken and every seed is shown."""


def over_seeds(values: FloatArray) -> FloatArray:
    """Return one number for the seeds on the last axis: [..., S] to [...].

    The interquartile mean, that is the mean without the lowest and the highest quarter (rounded down),
    as Agarwal et al. (2021, arXiv 2108.13264) define it; the plain mean below ``FEW_SEEDS`` seeds.
    """
    seeds = values.shape[-1]
    if seeds < FEW_SEEDS:
        return np.asarray(values.mean(axis=-1))
    cut = seeds // 4
    return np.asarray(np.sort(values, axis=-1)[..., cut : seeds - cut].mean(axis=-1))


def aggregate_name(seeds: int) -> str:
    """Return what ``over_seeds`` computes for this many seeds, in words."""
    if seeds == 1:
        return "single seed"
    return "mean" if seeds < FEW_SEEDS else "interquartile mean"


def spent(ledgers: Sequence[Mapping[str, float]], key: str) -> float:
    """Return what runs spent of ``key``, one ledger a seed, put together as ``over_seeds`` does."""
    return float(over_seeds(np.asarray([ledger[key] for ledger in ledgers], dtype=np.float64)))


def area_under_curve(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the mean height of the curve through ``x`` [T], ``y`` [..., T], in units of ``y``.

    The area by the trapezoid rule divided by the width, so that a flat curve has its own height.
    """
    widths = np.diff(x)
    return np.asarray(((y[..., 1:] + y[..., :-1]) / 2 * widths).sum(axis=-1) / widths.sum())


def first_reach(x: FloatArray, y: FloatArray, level: FloatArray) -> FloatArray:
    """Return the first ``x`` at which the curve is at or above ``level``; infinity where it never is.

    Args:
        x: amounts spent, not decreasing, [..., T].
        y: the curve, straight between its points, [..., T].
        level: what is to be reached, [...].
    """
    above = y >= level[..., None]
    first = above.argmax(axis=-1)
    before = np.maximum(first - 1, 0)
    x0, x1 = _at(x, before), _at(x, first)
    y0, y1 = _at(y, before), _at(y, first)
    rise = np.where(first > 0, y1 - y0, 1.0)
    share = np.where(first > 0, (level - y0) / np.where(rise > 0, rise, 1.0), 0.0)
    return np.where(above.any(axis=-1), x0 + share * (x1 - x0), np.inf)


def value_at(x: FloatArray, y: FloatArray, amount: float) -> FloatArray:
    """Return the curve through ``x``, ``y`` [..., T] at ``amount``, held at its ends: [...]."""
    after = np.clip((x < amount).sum(axis=-1), 1, x.shape[-1] - 1)
    x0, x1 = _at(x, after - 1), _at(x, after)
    y0, y1 = _at(y, after - 1), _at(y, after)
    width = np.where(x1 > x0, x1 - x0, 1.0)
    share = np.where(x1 > x0, np.clip((amount - x0) / width, 0.0, 1.0), 1.0)
    return np.asarray(y0 + share * (y1 - y0))


def speed_up(spent: FloatArray, amount: FloatArray) -> FloatArray:
    """Return ``spent / amount``: how many times less a method needs than ``spent`` (above 0).

    Zero where ``amount`` is infinite (never reached), infinity where it is zero (reached at the start).
    """
    started = amount > 0
    return np.where(started, spent / np.where(started, amount, 1.0), np.inf)


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the ratio; where the denominator is not above zero, an infinity with the numerator's sign."""
    positive = denominator > 0
    finite = numerator / np.where(positive, denominator, 1.0)
    return np.where(positive, finite, np.copysign(np.inf, numerator))


def expected_best(selector: FloatArray, value: FloatArray, count: int) -> FloatArray:
    """Return the expected ``value`` of the best of ``count`` videos, estimated without bias: [...].

    Of n samples, the one of rank i (from 1, ascending by ``selector``) is the best of a random subset of
    size N with probability C(i - 1, N - 1) / C(n, N); the estimate is the mean over all subsets.

    Args:
        selector: scores that select, [..., n].
        value: what is read off the selected video, [..., n]; ``selector`` itself for best-of-N.
        count: N, between 1 and n.
    """
    samples = selector.shape[-1]
    if not 1 <= count <= samples:
        raise ValueError(f"best of {count} cannot be estimated from {samples} samples")
    ranks = np.arange(samples)
    weights = comb(ranks, count - 1) / comb(samples, count)
    order = np.argsort(selector, axis=-1, kind="stable")
    return np.asarray((np.take_along_axis(value, order, axis=-1) * weights).sum(axis=-1))


def _at(values: FloatArray, index: npt.NDArray[np.intp]) -> FloatArray:
    """Return ``values`` [..., T] at ``index`` [...] of the last axis."""
    return np.take_along_axis(values, index[..., None], axis=-1)[..., 0]
