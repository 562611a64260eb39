"""Human pairwise preferences: counts, intervals and tests by question and pair of arms, and side bias."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

from vader_bench.errors import UserError
from vader_bench.stats.aggregate import FloatArray
from vader_bench.stats.bootstrap import LEVEL, Estimate
from vader_bench.stats.compare import holm

__all__ = [
    "ALPHA",
    "CLUSTERED",
    "CORRECTION",
    "FREEDOM",
    "MIN_CLUSTERS",
    "NO_TEST",
    "SIGN",
    "TIE",
    "Answer",
    "IntArray",
    "Preference",
    "Response",
    "Share",
    "clustered_spread",
    "compare_preferences",
    "degrees_of_freedom",
    "encode",
    "exact_p_value",
    "first_answers",
    "side_bias",
    "sign_p_value",
    "wilson",
]

Answer: TypeAlias = Literal["left", "right", "tie"]
IntArray: TypeAlias = npt.NDArray[np.intp]

ANSWERS = ("left", "right", "tie")
ALPHA = 0.05
"""Level of all tests together: a preference is shown where the corrected p-value is below it."""
CLUSTERED = "two-way clustered t"
FREEDOM = "Satterthwaite, at least the fewer of raters and prompts less one"
"""The degrees of freedom of the t."""
SIGN = "sign test over raters or prompts, whichever are fewer"
"""Of answers that leave no spread between raters and between prompts, as when all are for one arm."""
NO_TEST = "none"
"""What a test is called; with fewer raters or prompts than ``MIN_CLUSTERS`` there is none."""
CORRECTION = "Holm"
"""How p-values of one study are corrected, see ``holm``."""
TIE = 0.5
"""What a tie adds to the wins of either arm."""
MIN_CLUSTERS = 3
"""With fewer raters or prompts there is no test and so no finding: the tastes of two people are not those of
many, and a test that took their answers for independent would see a preference in up to half of all studies
without one."""


@dataclass(frozen=True)
class Response:
    """One answer of one rater to one question about two videos side by side."""

    rater: str
    """Pseudonym of the rater."""
    prompt: str
    question: str
    left: str
    """Arm shown on the left."""
    right: str
    """Arm shown on the right."""
    answer: Answer
    sample: int = 0
    """Which of the videos of this prompt: both arms start from the same noise."""
    repeat: bool = False
    """Whether the rater saw this item before, as planned: repeats measure consistency and nothing else."""

    def __post_init__(self) -> None:
        """Refuse what cannot be a comparison."""
        given = f"response of rater {self.rater!r} on {self.prompt!r}"
        if self.left == self.right:
            raise UserError(given, f"compares {self.left!r} with itself", "give two arms")
        if self.answer not in ANSWERS:
            raise UserError(given, f"has the answer {self.answer!r}", f"use one of {', '.join(ANSWERS)}")

    @property
    def pair(self) -> tuple[str, str]:
        """The two arms in alphabetical order, whichever side they were on."""
        return (self.left, self.right) if self.left < self.right else (self.right, self.left)

    @property
    def chosen(self) -> str | None:
        """The arm that was preferred; ``None`` for a tie."""
        return {"left": self.left, "right": self.right, "tie": None}[self.answer]

    @property
    def item(self) -> tuple[str, str, str, int, tuple[str, str]]:
        """What a rater sees once, save for planned repeats: rater, question, prompt, sample, pair."""
        return self.rater, self.question, self.prompt, self.sample, self.pair

    def score(self, arm: str) -> float:
        """Return 1 if ``arm``, one of the two, was preferred, 0 if the other was, ``TIE`` for a tie."""
        return TIE if self.chosen is None else float(self.chosen == arm)


@dataclass(frozen=True)
class Share:
    """How often one of two outcomes was chosen, a tie counting half: a number in 0..1."""

    wins: int
    losses: int
    ties: int
    raters: int
    prompts: int
    wilson: Estimate
    """Wilson's interval, as if all responses were independent: descriptive."""
    clustered: Estimate
    """The two-way cluster-robust interval; absent with few raters or prompts, or without spread."""
    p_value: float
    """Two-sided p-value of a share of one half by ``test``; NaN where there is none."""
    test: str
    """``CLUSTERED``, ``SIGN`` or ``NO_TEST``."""

    @property
    def responses(self) -> int:
        """Number of answers, ties among them."""
        return self.wins + self.losses + self.ties


@dataclass(frozen=True)
class Preference:
    """One question about two arms."""

    question: str
    first: str
    second: str
    share: Share
    """How often ``first`` was preferred."""
    side_adjusted: Estimate
    """The share with equal weight to ``first`` on the left and on the right, clustered interval."""
    p_holm: float
    """The share's p-value after Holm's correction over all questions and pairs; NaN where it has none."""


def wilson(successes: float, trials: int, level: float = LEVEL) -> Estimate:
    """Return the share of ``successes`` with Wilson's score interval (Wilson 1927).

    Ties enter as half a success; the interval is then wider than it need be, for a tie has less spread.
    """
    if trials == 0:
        return Estimate.none("missing")
    share = successes / trials
    z2 = float(stats.norm.isf((1 - level) / 2)) ** 2
    middle = (successes + z2 / 2) / (trials + z2)
    half = np.sqrt(z2 * (trials * share * (1 - share) + z2 / 4)) / (trials + z2)
    return Estimate(share, max(0.0, float(middle - half)), min(1.0, float(middle + half)))


def exact_p_value(wins: int, losses: int) -> float:
    """Return the two-sided exact binomial p-value of an even chance; 1 without a decision.

    Ties are not passed: given that a response is no tie, both outcomes are equally likely where there is
    no preference (the sign test). They stay in the counts and in the share.
    """
    if wins + losses == 0:
        return 1.0
    return float(stats.binomtest(wins, wins + losses).pvalue)


def clustered_spread(
    influence: FloatArray, prompts: IntArray, raters: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return variance and degrees of freedom of an estimate whose answers share prompts and raters.

    The variance is V_prompt + V_rater - V_both (Cameron, Gelbach and Miller 2011), each with the factor
    G / (G - 1) for its G clusters, and at least the larger of the two one-way variances, since the sum can
    even be negative. V_both is over the clusters that a rater and a prompt have in common.

    Args:
        influence: what each answer adds to the deviation of the estimate, [..., n]; of a mean (y - mean) / n.
        prompts: number of the prompt of each answer, from 0 without gaps, [n].
        raters: the same of the rater, [n].

    Returns:
        Both [...]. Without spread the variance is zero, and the degrees of freedom mean nothing.
    """
    both = prompts * (int(raters.max()) + 1) + raters
    by_prompt, by_rater, by_both = (_one_way(influence, codes) for codes in (prompts, raters, both))
    variance = np.maximum(by_prompt + by_rater - by_both, np.maximum(by_prompt, by_rater))
    spread = np.where(variance > 0, 1.0, np.nan)  # else 0 / 0
    clusters = int(prompts.max()) + 1, int(raters.max()) + 1
    freedom = degrees_of_freedom(variance * spread, (by_prompt, by_rater), *clusters)
    return variance, freedom


def degrees_of_freedom(
    variance: FloatArray, one_way: tuple[FloatArray, FloatArray], prompts: int, raters: int
) -> FloatArray:
    """Return Student's degrees of freedom of a two-way variance: [...].

    Satterthwaite's V^2 / (V_prompt^2 / (P - 1) + V_rater^2 / (R - 1)) (Satterthwaite 1946), and at least
    min(P, R) - 1: where the variance comes from prompts alone, few raters take nothing from what is known.

    Args:
        variance: V, of ``clustered_spread``, above zero, [...].
        one_way: V_prompt and V_rater, [...] each.
        prompts: P, their number, 2 or more.
        raters: R, the same of raters.
    """
    by_prompt, by_rater = one_way
    parts = by_prompt**2 / (prompts - 1) + by_rater**2 / (raters - 1)
    return np.maximum(variance**2 / parts, min(prompts, raters) - 1.0)


def sign_p_value(prompts: int, raters: int) -> float:
    """Return the p-value of answers whose raters and prompts all lean to one side alike.

    Each rater, or each prompt, counts once, whichever are fewer: by chance all of n lean to the same side
    with the probability 2 / 2^n.
    """
    return 2 * 0.5 ** min(prompts, raters)


def encode(values: Sequence[Hashable]) -> IntArray:
    """Return the number of each value among the distinct ones, from 0 in the order they come."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.intp)


def first_answers(responses: Sequence[Response]) -> list[Response]:
    """Return the responses that are no planned repeats.

    Raises:
        UserError: a rater answered the same question about the same item twice.
    """
    seen: set[tuple[object, ...]] = set()
    kept = [response for response in responses if not response.repeat]
    for response in kept:
        if response.item in seen:
            given = f"response of rater {response.rater!r} on {response.prompt!r}"
            wrong = f"question {response.question!r} about this pair was answered before"
            raise UserError(given, wrong, "drop the later answer or mark it as a planned repeat")
        seen.add(response.item)
    return kept


def compare_preferences(
    responses: Sequence[Response],
    arms: Sequence[str],
    questions: Sequence[str],
    family: Iterable[tuple[str, str, str]] = (),
) -> list[Preference]:
    """Return every question on every pair of arms that was answered, Holm-corrected together.

    Args:
        responses: of one study; repeats are passed over.
        arms: all arms, in the order that decides who comes first in a pair.
        questions: all questions, in the order of the result.
        family: question and two arms of every test that was planned: one without an answer, or with too few
            raters or prompts, is corrected for as one with a p-value of 1. By default the family is what was
            answered.

    Raises:
        UserError: a response names another arm or question, or a rater answered twice.
    """
    firsts = first_answers(responses)
    _require_known(firsts, arms, questions)
    groups = [
        (question, first, second, group)
        for question in questions
        for first, second in combinations(arms, 2)
        if (group := [r for r in firsts if r.question == question and {r.left, r.right} == {first, second}])
    ]
    shares = [_share(group, [response.score(first) for response in group]) for _, first, _, group in groups]
    answered = {(question, frozenset(pair)) for question, *pair, _ in groups}
    silent = {(question, frozenset(pair)) for question, *pair in family} - answered
    tested = [1.0 if np.isnan(share.p_value) else share.p_value for share in shares]
    corrected = holm([*tested, *[1.0] * len(silent)])[: len(shares)]
    return [
        Preference(
            question, first, second, share, _side_adjusted(group, first),
            np.nan if share.test == NO_TEST else p_holm,
        )
        for (question, first, second, group), share, p_holm in zip(groups, shares, corrected, strict=True)
    ]  # fmt: skip


def side_bias(responses: Sequence[Response]) -> Share:
    """Return how often the left side was chosen, whichever arm was there; repeats are passed over.

    Sides are balanced by design, so one half means no bias.
    """
    firsts = first_answers(responses)
    return _share(firsts, [response.score(response.left) for response in firsts])


def _one_way(influence: FloatArray, codes: IntArray) -> FloatArray:
    """Return the cluster-robust variance for the clusters ``codes`` [n]: [..., n] to [...]."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    sums = np.add.reduceat(influence[..., order], starts, axis=-1)
    clusters = len(starts)
    return np.asarray((sums**2).sum(axis=-1) * clusters / (clusters - 1))


def _share(responses: Sequence[Response], values: Sequence[float]) -> Share:
    scores = np.array(values)
    wins, losses = int((scores == 1).sum()), int((scores == 0).sum())
    influence = (scores - scores.mean()) / len(scores) if len(scores) else scores
    value = float(scores.mean()) if len(scores) else np.nan
    clustered, p_value, test = _clustered(value, influence, responses)
    return Share(
        wins=wins,
        losses=losses,
        ties=len(scores) - wins - losses,
        raters=len({response.rater for response in responses}),
        prompts=len({response.prompt for response in responses}),
        wilson=wilson(float(scores.sum()), len(scores)),
        clustered=clustered,
        p_value=p_value,
        test=test,
    )


def _side_adjusted(responses: Sequence[Response], first: str) -> Estimate:
    """Return the mean of the two shares of ``first``: when it was on the left, and on the right."""
    scores = np.array([response.score(first) for response in responses])
    left = np.array([response.left == first for response in responses])
    if left.all() or not left.any():
        return Estimate.none("one side only")
    means = np.where(left, scores[left].mean(), scores[~left].mean())
    influence = (scores - means) / (2 * np.where(left, left.sum(), (~left).sum()))
    value = float((scores[left].mean() + scores[~left].mean()) / 2)
    return _clustered(value, influence, responses)[0]


def _clustered(
    value: float, influence: FloatArray, responses: Sequence[Response]
) -> tuple[Estimate, float, str]:
    """Return the interval around ``value``, the p-value of one half and the name of the test."""
    if not responses:
        return Estimate.none("missing"), np.nan, NO_TEST
    prompts, raters = encode([r.prompt for r in responses]), encode([r.rater for r in responses])
    clusters = int(prompts.max()) + 1, int(raters.max()) + 1
    for name, number in zip(("prompts", "raters"), clusters, strict=True):
        if number < MIN_CLUSTERS:
            return Estimate.none(f"too few {name} for a finding"), np.nan, NO_TEST
    variance, freedom = clustered_spread(influence, prompts, raters)
    deviation = float(np.sqrt(variance))
    if np.isclose(deviation, 0.0):
        even = bool(np.isclose(value, 0.5))
        return Estimate.none("no spread"), 1.0 if even else sign_p_value(*clusters), SIGN
    half = float(stats.t.isf((1 - LEVEL) / 2, freedom)) * deviation
    p_value = 2 * float(stats.t.sf(abs(value - 0.5) / deviation, freedom))
    return Estimate(value, max(0.0, value - half), min(1.0, value + half)), p_value, CLUSTERED


def _require_known(responses: Sequence[Response], arms: Sequence[str], questions: Sequence[str]) -> None:
    for response in responses:
        given = f"response of rater {response.rater!r} on {response.prompt!r}"
        for arm in response.pair:
            if arm not in arms:
                raise UserError(given, f"names the arm {arm!r}", f"use one of {', '.join(arms)}")
        if response.question not in questions:
            wrong = f"answers the question {response.question!r}"
            raise UserError(given, wrong, f"use one of {', '.join(questions)}")
