"""Intervals by a paired bootstrap over seeds and prompts, with generators that are named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from vader_bench.seeding import numpy_stream
from vader_bench.stats.aggregate import FloatArray, over_seeds

__all__ = ["LEVEL", "RESAMPLES", "Estimate", "Resampler", "Sampled", "no_spread"]

RESAMPLES = 40_000
"""So many that the digits shown hardly depend on the root seed; see ``Resampler``."""
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, or the reason why there is none."""

    value: float
    low: float
    high: float
    absent: str = ""
    """Why there is no number (``missing``, ``not measured``, ``undefined``); empty where there is one."""

    @classmethod
    def none(cls, reason: str) -> Estimate:
        """Return the estimate that does not exist, for ``reason``."""
        return cls(np.nan, np.nan, np.nan, reason)

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval is above zero; false where there is no number."""
        return self.low > 0

    @property
    def below_zero(self) -> bool:
        """Whether the whole interval is below zero; false where there is no number."""
        return self.high < 0


@dataclass(frozen=True)
class Sampled:
    """A statistic of any shape [...] on the data, and on each of B resamples."""

    point: FloatArray
    """On the data, [...]."""
    draws: FloatArray
    """On the resamples, [B, ...]."""

    @classmethod
    def of(cls, function: Callable[..., FloatArray], *parts: Sampled) -> Sampled:
        """Return ``function`` of the parts, on the data and on every resample.

        ``function`` must leave leading axes alone: it sees [...] once and [B, ...] once.
        """
        point = function(*(part.point for part in parts))
        return cls(np.asarray(point), np.asarray(function(*(part.draws for part in parts))))

    def __getitem__(self, index: int | tuple[int, ...]) -> Sampled:
        """Return the statistic at ``index`` of its leading axes."""
        where = index if isinstance(index, tuple) else (index,)
        everywhere: tuple[slice | int, ...] = (slice(None), *where)
        return Sampled(np.asarray(self.point[where]), self.draws[everywhere])

    def __sub__(self, other: Sampled) -> Sampled:
        """Return the difference, paired: both sides see the same resample."""
        return Sampled.of(np.subtract, self, other)

    def bounds(self, level: float = LEVEL) -> tuple[FloatArray, FloatArray]:
        """Return the lower and upper percentile limits [...].

        Limits are values that were drawn (no interpolation), so that infinities stay what they are.

        Raises:
            ValueError: the statistic is not a number on some resamples, which percentiles would hide.
        """
        if np.isnan(self.draws).any():
            raise ValueError("a statistic is not a number on some resamples")
        tail = (1 - level) / 2
        low, high = np.quantile(self.draws, [tail, 1 - tail], axis=0, method="inverted_cdf")
        return np.asarray(low), np.asarray(high)

    def estimate(self, level: float = LEVEL) -> Estimate:
        """Return the scalar statistic with its percentile interval."""
        low, high = self.bounds(level)
        return Estimate(float(self.point), float(low), float(high))

    def p_value(self) -> float:
        """Return the two-sided p-value of a scalar statistic being zero.

        Twice the smaller share of resamples on either side of zero, zero counting on both, one added to
        count and total so that it is never 0 (Davison and Hinkley 1997, section 4.2), at most 1.
        """
        below = int((self.draws <= 0).sum())
        above = int((self.draws >= 0).sum())
        return min(1.0, 2 * (min(below, above) + 1) / (len(self.draws) + 1))


def no_spread(value: float, half: float) -> bool:
    """Tell whether an interval of half width ``half`` around ``value`` is one of rounding alone."""
    return half <= 1e-9 * abs(value)


class Resampler:
    """Draws resamples of seeds and prompts, the same ones for everything that shares them.

    Two levels, crossed as the data are: every seed sees every prompt, so a resample draws seeds and,
    once for all seeds, prompts. The draws depend on the seeds and on the prompts alone; two methods, two
    looks or two splits with the same prompts are therefore paired. Splits are strata: each is drawn
    within itself.

    A bootstrap over S seeds is too narrow for small S (with three it covers some 72 % where it claims
    95 %), so the deviation that comes from resampling seeds is scaled by sqrt(S / Q), Q drawn from a
    chi-squared distribution with S - 1 degrees of freedom, the same for everything in a resample. That
    undoes the shrinkage (S - 1) / S and turns the normal shape into Student's t. With one seed only
    prompts are drawn, and intervals say nothing about another seed.

    All intervals of a table share the draws of Q, so Q is drawn from equal strata of its distribution, in
    random order: plain draws moved a limit of 0.1.0's main table between 0.12 and 0.25 from root to root.

    Args:
        seeds: the seeds on the data's seed axis, S of them.
        resamples: B; ``RESAMPLES`` where it is not given.
        root: root seed of the named streams.
        for_one_run: widen the deviation by sqrt(S + 1), so that a difference from one further run, which
            shows no spread of its own, has the prediction interval for such a run.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        *,
        resamples: int | None = None,
        root: int = 0,
        for_one_run: bool = False,
    ) -> None:
        self.resamples = RESAMPLES if resamples is None else resamples
        self._root = root
        self._weights: dict[tuple[str, ...], FloatArray] = {}
        count = len(seeds)
        generator = numpy_stream(root, "bootstrap", "seeds", *seeds)
        self._picks = generator.integers(count, size=(self.resamples, count))
        self._scale = np.zeros(self.resamples)
        if count > 1:
            strata = generator.permutation(self.resamples) + generator.uniform(size=self.resamples)
            self._scale = np.sqrt(count / stats.chi2.ppf(strata / self.resamples, count - 1))
            self._scale *= np.sqrt(count + 1) if for_one_run else 1.0

    def seeds_and_prompts(self, values: FloatArray, prompts: Sequence[str]) -> Sampled:
        """Return scores aggregated over seeds and prompts: [..., S, P] to [...]."""
        runs = self._means(values, prompts)
        point = over_seeds(values.mean(axis=-1))
        return Sampled(point, self._rescaled(over_seeds(runs), over_seeds(self._pick(runs))))

    def seeds(self, values: FloatArray) -> Sampled:
        """Return what has no prompts (a run's diversity) aggregated over seeds: [..., S] to [...]."""
        point = over_seeds(values)
        runs = np.broadcast_to(values, (self.resamples, *values.shape))
        return Sampled(point, self._rescaled(point[None], over_seeds(self._pick(runs))))

    def amounts(self, values: FloatArray) -> Sampled:
        """Return amounts spent, which are above zero or zero with every seed, over seeds: [..., S] to [...].

        Deviations are those of logarithms: widened for few seeds, plain ones can make an amount negative.
        """
        logs = self.seeds(np.log(np.where(values > 0, values, 1.0)))
        point = over_seeds(values)
        return Sampled(point, point * np.exp(logs.draws - logs.point))

    def runs(
        self,
        statistic: Callable[[FloatArray, FloatArray], FloatArray],
        scores: FloatArray,
        prompts: Sequence[str],
        beside: FloatArray,
    ) -> Sampled:
        """Return a statistic of all runs that is no mean of them, such as a curve fitted to them: [...].

        Args:
            statistic: from means over prompts [..., K, S] and what stands beside them, of the same shape, to
                [...]. It must leave leading axes alone.
            scores: K scores of every seed, [K, S, P].
            prompts: P of them.
            beside: what a run has without prompts, [K, S]; drawn with the same seeds.
        """
        point = statistic(scores.mean(axis=-1), beside)
        runs = self._means(scores, prompts)
        others = np.broadcast_to(beside, runs.shape)
        picked = statistic(self._pick(runs), self._pick(others))
        return Sampled(point, self._rescaled(statistic(runs, others), picked))

    def prompts(self, values: FloatArray, prompts: Sequence[str]) -> Sampled:
        """Return what has no seeds (the base model) averaged over prompts: [..., P] to [...]."""
        return Sampled(np.asarray(values.mean(axis=-1)), self._means(values, prompts))

    def _means(self, values: FloatArray, prompts: Sequence[str]) -> FloatArray:
        """Return means over resampled prompts: [..., P] to [B, ...]."""
        return np.moveaxis(values @ self._weights_of(tuple(prompts)), -1, 0)

    def _weights_of(self, prompts: tuple[str, ...]) -> FloatArray:
        """Return how much each prompt counts in each resample, [P, B]."""
        if prompts not in self._weights:
            count = len(prompts)
            generator = numpy_stream(self._root, "bootstrap", "prompts", *prompts)
            draws = generator.multinomial(count, np.full(count, 1 / count), size=self.resamples)
            self._weights[prompts] = draws.T / count
        return self._weights[prompts]

    def _pick(self, runs: FloatArray) -> FloatArray:
        """Return ``runs`` [B, ..., S] with the seeds of each resample."""
        shape = (self.resamples, *[1] * (runs.ndim - 2), -1)
        return np.take_along_axis(runs, self._picks.reshape(shape), axis=-1)

    def _rescaled(self, all_seeds: FloatArray, picked: FloatArray) -> FloatArray:
        scale = self._scale.reshape(-1, *[1] * (picked.ndim - 1))
        return np.asarray(all_seeds + scale * (picked - all_seeds))
