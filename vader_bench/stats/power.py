"""How many responses, prompts and raters a study needs to see a preference of a given size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit

from vader_bench.errors import UserError
from vader_bench.seeding import numpy_stream
from vader_bench.stats.aggregate import FloatArray
from vader_bench.stats.preference import ALPHA, MIN_CLUSTERS, IntArray, clustered_spread, encode, sign_p_value

__all__ = [
    "FEW_PROMPTS",
    "MOST_OF_ONE",
    "POWER",
    "Design",
    "SampleSize",
    "Variation",
    "assign_raters",
    "exact_power",
    "plan_design",
    "power_of_assignment",
    "responses_needed",
    "simulate_power",
]

POWER = 0.8
"""What is usually asked for."""
FEW_PROMPTS = 30
"""Below this number of prompts a result says little about other prompts."""
MOST_OF_ONE = 0.05
"""Share of all answers beyond which one person's taste weighs too much."""
MOST_PROMPTS = 1000
NEAREST = 0.005
NO_SPREAD = 1e-16
"""Variance of a share below which it is rounding alone."""
STUDIES = 2000
"""Simulated studies: their share that succeeds has a standard error of 1.1 % at most."""


@dataclass(frozen=True)
class Design:
    """The size of one comparison of two arms."""

    prompts: int
    per_prompt: int
    """Responses a prompt gets, each from another rater."""
    raters: int

    def __post_init__(self) -> None:
        """Refuse designs that cannot be carried out, or can find nothing."""
        given = f"design of {self.prompts} prompts, {self.per_prompt} responses each, {self.raters} raters"
        if self.per_prompt < 1:
            raise UserError(given, "has no responses", "ask for one response a prompt at least")
        if min(self.prompts, self.raters) < MIN_CLUSTERS:
            wrong = f"has fewer than {MIN_CLUSTERS} prompts or raters, too few for a finding"
            raise UserError(given, wrong, "plan more of them")
        if not self.per_prompt <= self.raters <= self.responses:
            wrong = "has too few raters for one prompt, or more raters than responses"
            raise UserError(given, wrong, f"plan {self.per_prompt} to {self.responses} raters")

    @property
    def responses(self) -> int:
        """Number of responses to each question."""
        return self.prompts * self.per_prompt


@dataclass(frozen=True)
class Variation:
    """How far preferences differ: standard deviations on the scale of log-odds."""

    prompt: float = 0.8
    """Of prompts: on some, the arm that is better on the whole is the worse one."""
    rater: float = 0.4
    """Of raters, whose tastes differ."""

    def __post_init__(self) -> None:
        """Refuse what is no standard deviation."""
        for name, value in (("prompts", self.prompt), ("raters", self.rater)):
            if not 0 <= value < np.inf:
                given = f"standard deviation of {name} {value}"
                raise UserError(given, "is none", "give 0 or a number above it, in log-odds")


@dataclass(frozen=True)
class SampleSize:
    """The smallest design, in steps, that reaches the power asked for."""

    design: Design
    share: float
    """The preference to be seen."""
    alpha: float
    power: float
    """Simulated power of ``design`` with the two-way clustered test."""
    independent: int
    """Responses that would do if they were all independent: what clustering costs is the difference."""


def exact_power(share: float, responses: int, *, alpha: float = ALPHA) -> float:
    """Return the power of the exact two-sided binomial test of one half, for independent responses."""
    most = _rejected_up_to(np.array([responses]), alpha)
    return float(_power(share, np.array([responses]), most)[0])


def responses_needed(share: float, *, power: float = POWER, alpha: float = ALPHA) -> int:
    """Return from how many independent responses on the exact test has ``power``, at every larger number too.

    Power does not rise evenly with the number, for the test has few p-values; the first number that
    reaches it may be followed by some that do not.

    Args:
        share: how often one arm is preferred, in 0..1 and not one half.
        power: in 0..1.
        alpha: two-sided level; divide by the number of tests of a family.

    Raises:
        UserError: a share within half a percent of one half; a number that is not between 0 and 1.
    """
    for name, value in (("share", share), ("power", power), ("alpha", alpha)):
        _require_between(name, value)
    gap = abs(share - 0.5)
    z = stats.norm.isf(alpha / 2) / 2 + stats.norm.isf(1 - power) * np.sqrt(share * (1 - share))
    if gap < NEAREST:
        raise UserError(
            f"share {share}", "is too near one half to be distinguished from it", "plan for a larger one"
        )
    largest = int(1.5 * (float(z) / gap) ** 2) + 100
    numbers = np.arange(1, largest + 1)
    short = np.flatnonzero(_power(share, numbers, _rejected_up_to(numbers, alpha)) < power)
    return int(numbers[short[-1]]) + 1 if len(short) else 1


def assign_raters(design: Design, stream: np.random.Generator) -> IntArray:
    """Return who judges which prompt, [per_prompt, prompts]: nobody the same prompt twice, loads alike.

    The raters are split in ``per_prompt`` groups; each takes all prompts, in an order of its own.
    """
    groups = np.array_split(np.arange(design.raters), design.per_prompt)
    turns = [np.resize(group, design.prompts)[stream.permutation(design.prompts)] for group in groups]
    return np.array(turns, dtype=np.intp)


def simulate_power(
    design: Design,
    share: float,
    variation: Variation,
    *,
    alpha: float = ALPHA,
    studies: int = STUDIES,
    root: int = 0,
) -> float:
    """Return the share of simulated studies in which the two-way clustered test sees a preference.

    With a share of one half this is the error of the first kind. The planted share is that over all
    raters and prompts: the intercept is the one which gives it under ``variation``.

    Args:
        design: size of the study.
        share: how often one arm is preferred, between 0 and 1.
        variation: spread of prompts and raters.
        alpha: two-sided level of the test.
        studies: number of simulated studies.
        root: root seed of the named streams.

    Raises:
        UserError: a share that is not between 0 and 1.
    """
    stream = numpy_stream(root, "power", design.prompts, design.per_prompt, design.raters)
    raters = assign_raters(design, stream).ravel()
    prompts = np.tile(np.arange(design.prompts), design.per_prompt)
    return power_of_assignment(prompts, raters, share, variation, stream, alpha=alpha, studies=studies)


def power_of_assignment(
    prompts: IntArray,
    raters: IntArray,
    share: float,
    variation: Variation,
    stream: np.random.Generator,
    *,
    alpha: float = ALPHA,
    studies: int = STUDIES,
) -> float:
    """Return the same where it is known which rater judges which prompt.

    Args:
        prompts: number of the prompt of each answer, whatever the numbers, [n].
        raters: the same of the rater, [n].
        share: how often one arm is preferred, between 0 and 1.
        variation: spread of prompts and raters.
        stream: what the simulation draws from.
        alpha: two-sided level of the test.
        studies: number of simulated studies.

    Returns:
        The power; 0 with too few raters or prompts for a finding.

    Raises:
        UserError: a share that is not between 0 and 1.
    """
    _require_between("share", share)
    _require_between("alpha", alpha)
    prompts, raters = encode(prompts.tolist()), encode(raters.tolist())
    counts = int(prompts.max()) + 1, int(raters.max()) + 1
    if min(counts) < MIN_CLUSTERS:
        return 0.0
    tastes = stream.normal(0, variation.prompt, (studies, counts[0]))[:, prompts]
    habits = stream.normal(0, variation.rater, (studies, counts[1]))[:, raters]
    odds = _intercept(share, variation) + tastes + habits
    scores = (stream.random(odds.shape) < expit(odds)).astype(np.float64)
    mean = scores.mean(axis=1)
    variance, freedom = clustered_spread((scores - mean[:, None]) / len(prompts), prompts, raters)
    spread = variance > NO_SPREAD
    limit = stats.t.isf(alpha / 2, np.where(spread, freedom, 1.0))
    alike = (sign_p_value(*counts) < alpha) & ~np.isclose(mean, 0.5)
    return float(np.where(spread, (mean - 0.5) ** 2 > limit**2 * variance, alike).mean())


def plan_design(
    share: float,
    variation: Variation,
    *,
    per_prompt: int = 2,
    raters: int = 60,
    power: float = POWER,
    alpha: float = ALPHA,
    root: int = 0,
) -> SampleSize:
    """Return the smallest design, in steps of ten prompts, whose simulated power is at least ``power``.

    Args:
        share: how often one arm is preferred, between 0 and 1 and not one half.
        variation: spread of prompts and raters.
        per_prompt: responses a prompt gets.
        raters: number of raters; 20 or more keep any one of them to a twentieth of the data.
        power: in 0..1.
        alpha: two-sided level; divide by the number of tests of a family.
        root: root seed of the named streams.

    Raises:
        UserError: the power is out of reach with these raters, or the share is no preference.
    """
    independent = responses_needed(share, power=power, alpha=alpha)

    def reached(tens: int) -> float:
        design = Design(10 * tens, per_prompt, raters)
        return simulate_power(design, share, variation, alpha=alpha, root=root)

    most = MOST_PROMPTS // 10  # a larger study may not fit into memory
    low = max(1, -(-raters // (10 * per_prompt)))
    high = min(most, max(low, -(-independent // (10 * per_prompt))))
    while (found := reached(high)) < power:
        if high == most:
            wrong = f"a power of {power} is not reached with {raters} raters and {MOST_PROMPTS} prompts"
            raise UserError(f"share {share}", wrong, "plan more raters or a larger share")
        low, high = high + 1, min(most, 2 * high)
    while low < high:
        middle = (low + high) // 2
        if (here := reached(middle)) >= power:
            high, found = middle, here
        else:
            low = middle + 1
    return SampleSize(Design(10 * high, per_prompt, raters), share, alpha, found, independent)


def _rejected_up_to(numbers: IntArray, alpha: float) -> FloatArray:
    """Return the largest number of wins at or below which the exact test of one half rejects; -1 for none."""
    return np.asarray(stats.binom.ppf(alpha / 2, numbers, 0.5) - 1)


def _power(share: float, numbers: IntArray, most: FloatArray) -> FloatArray:
    """Return how probable it is that wins or losses are at most ``most``."""
    losing = stats.binom.cdf(most, numbers, share)
    return np.asarray(losing + stats.binom.cdf(most, numbers, 1 - share))


def _intercept(share: float, variation: Variation) -> float:
    """Return the log-odds b with E[1 / (1 + e^-(b + X))] = share, X normal with the variation's variance."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    shifts, weights = np.hypot(variation.prompt, variation.rater) * nodes, weights / weights.sum()
    return float(brentq(lambda b: float(weights @ expit(b + shifts)) - share, -100.0, 100.0))


def _require_between(name: str, value: float) -> None:
    if not 0 < value < 1:
        usual = {"alpha": 0.05, "power": 0.8}.get(name, 0.6)
        raise UserError(f"{name} {value}", "is not between 0 and 1", f"give a fraction, such as {usual}")
