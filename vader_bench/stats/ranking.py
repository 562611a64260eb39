"""Ranking of more than two arms from pairwise answers: Bradley-Terry, and Davidson where there are ties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from scipy.sparse.csgraph import connected_components

from vader_bench.seeding import numpy_stream
from vader_bench.stats.aggregate import FloatArray
from vader_bench.stats.bootstrap import Estimate, Sampled
from vader_bench.stats.preference import IntArray, Response, degrees_of_freedom, encode, first_answers

__all__ = [
    "Ranking",
    "Strengths",
    "count_votes",
    "fit_strengths",
    "intransitive_triples",
    "is_connected",
    "rank_arms",
]

RESAMPLES = 1000
MIN_RESAMPLED = 8
"""With fewer raters or prompts a bootstrap over them has too few different resamples."""
RIDGE = 1e-4
"""Keeps a resample finite in which an arm never loses; the fit to the data has none."""
LEAST = 1e-12
"""Variance below which nothing is divided by: deviations are then no spread, see ``RIDGE``."""
STEPS = 200
TOLERANCE = 1e-6
"""A Newton step below it, once taken, leaves an error of about its square."""


@dataclass(frozen=True)
class Strengths:
    """Fitted log-strengths."""

    logs: FloatArray
    """Natural logarithms with mean zero, [..., A]."""
    log_tie: FloatArray
    """Davidson's log nu, [...]: minus infinity without ties (Bradley-Terry)."""


@dataclass(frozen=True)
class Ranking:
    """Arms by strength on one question."""

    question: str
    arms: tuple[str, ...]
    responses: int
    ties: int
    absent: str = ""
    """Why there is no ranking; empty where there is one, and otherwise the rest is empty."""
    apart: dict[str, str] = field(default_factory=dict)
    """Arms whose strength cannot be estimated, and why; the rest is about the others alone."""
    strengths: dict[str, float] = field(default_factory=dict)
    """Log-strengths with mean zero."""
    tie: float = 0.0
    """Davidson's nu: between equals, a tie is nu times as likely as either arm; 0 without ties."""
    intervals: dict[str, Estimate] = field(default_factory=dict)
    """The log-strengths with their intervals; absent with few raters or prompts."""
    beats: dict[tuple[str, str], Estimate] = field(default_factory=dict)
    """Probability by the model that the first arm is preferred to the second, a tie counting half."""
    best: dict[str, float] = field(default_factory=dict)
    """Share of resamples in which the arm is the strongest; empty without intervals."""
    ranks: dict[str, Estimate] = field(default_factory=dict)
    """Rank from 1 with its interval."""
    intransitive: int = 0
    """Triples of arms of which, by majority, each beats the next one round: no ranking can hold them."""


def count_votes(responses: Sequence[Response], arms: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Return wins and ties of each response, [n, A, A] each.

    A win of arm i over arm j is a 1 at (i, j); a tie is a 1 at (i, j) and at (j, i) of the second.
    """
    index = {arm: number for number, arm in enumerate(arms)}
    wins, ties = np.zeros((2, len(responses), len(arms), len(arms)))
    for number, response in enumerate(responses):
        left, right = index[response.left], index[response.right]
        if response.chosen is None:
            ties[number, left, right] = ties[number, right, left] = 1
        elif response.answer == "left":
            wins[number, left, right] = 1
        else:
            wins[number, right, left] = 1
    return wins, ties


def fit_strengths(wins: FloatArray, ties: FloatArray, *, ridge: float = 0.0) -> Strengths:
    """Return the strengths of highest likelihood, by Newton's method with steps of at most 1.

    Davidson (1970): i is preferred to j with probability e^a / Z, a = (s_i - s_j) / 2, the reverse
    e^-a / Z, a tie nu / Z, where Z = e^a + e^-a + nu. Without any tie in ``ties`` this is Bradley and
    Terry (1952). The log-likelihood is concave; ``s`` is made unique by mean zero.

    Args:
        wins: how often arm i was preferred to arm j, [..., A, A]; weights need not be whole.
        ties: ties, symmetric, each in both places, [..., A, A].
        ridge: half of it times the squared parameters is taken from the log-likelihood.

    Raises:
        ValueError: without ``ridge``, where the maximum may be at infinity: see ``is_connected``.
    """
    batch, arms = wins.shape[:-2], wins.shape[-1]
    if not ridge and not all(is_connected(one) for one in wins.reshape(-1, arms, arms)):
        raise ValueError("an arm or a group of arms never lost: the likelihood may have no maximum")
    davidson = bool(ties.any())
    held = np.zeros((arms + 1, arms + 1))
    held[:arms, :arms] = 1 / arms  # all strengths may shift alike: this keeps their mean at zero
    held[arms, arms] = 0.0 if davidson else 1.0
    penalty = ridge * np.eye(arms + 1)
    now = np.zeros((*batch, arms + 1))
    for _ in range(STEPS):
        gradient, information = _derivatives(now, wins, ties, davidson=davidson)
        step = np.linalg.solve(information + penalty + held, (gradient - ridge * now)[..., None])[..., 0]
        longest = np.abs(step).max(axis=-1, keepdims=True)
        now = now + step / np.maximum(longest, 1.0)
        if longest.max() < TOLERANCE:
            log_tie = now[..., arms] if davidson else np.full(batch, -np.inf)
            return Strengths(now[..., :arms], log_tie)
    raise ValueError(f"the strengths have not converged in {STEPS} steps")


def is_connected(wins: FloatArray) -> bool:
    """Return whether, however the arms [A, A] are split in two groups, each beat the other at least once.

    Then, and with Bradley-Terry only then, the likelihood has one finite maximum (Ford 1957, Davidson 1970).
    """
    return int(connected_components(wins > 0, directed=True, connection="strong")[0]) == 1


def rank_arms(
    responses: Sequence[Response],
    arms: Sequence[str],
    question: str,
    *,
    resamples: int = RESAMPLES,
    root: int = 0,
) -> Ranking:
    """Return the ranking of ``arms`` on ``question``; repeats are passed over.

    The intervals come from a bootstrap of raters and prompts whose variance is that of the two-way
    cluster-robust interval (``preference.clustered_spread``): deviations from resampled prompts and from
    resampled raters are added, and scaled so that their variance, summed over the arms, is V_prompt +
    V_rater - V_both, and no less than the larger of the first two. Drawing raters and prompts at once
    would count the noise of the answers three times. As there, each part has the factor G / (G - 1) and
    the shape is Student's with the same degrees of freedom (``preference.degrees_of_freedom``).

    An arm that never lost, or never won, has no finite strength: it is named in ``apart``, and the others are
    ranked.

    Args:
        responses: of one study; those on other questions or with other arms are passed over.
        arms: at least two.
        question: the question.
        resamples: number of resamples.
        root: root seed of the named streams.
    """
    asked = [r for r in responses if r.question == question and {r.left, r.right} <= set(arms)]
    firsts = first_answers(asked)
    wins, ties = (votes.sum(axis=0) for votes in count_votes(firsts, arms))
    ranked = _estimable(wins)
    outcome = question, tuple(arms), len(firsts), int(ties.sum()) // 2
    if len(ranked) < 2:
        return Ranking(*outcome, absent="no two arms were each preferred to the other, even by way of others")
    kept = [arms[place] for place in ranked]
    apart = {
        arm: _why_apart(place, ranked, wins, ties) for place, arm in enumerate(arms) if place not in ranked
    }
    among = [response for response in firsts if {response.left, response.right} <= set(kept)]
    return _ranked(Ranking(*outcome, apart=apart), among, kept, resamples, root)


def _ranked(
    ranking: Ranking, responses: Sequence[Response], arms: Sequence[str], resamples: int, root: int
) -> Ranking:
    """Return ``ranking`` with what ``responses``, all on ``arms``, say: these have finite strengths."""
    wins, ties = count_votes(responses, arms)
    fit = fit_strengths(wins.sum(axis=0), ties.sum(axis=0))
    clusters = encode([r.prompt for r in responses]), encode([r.rater for r in responses])
    reason = _too_few(*clusters)
    draws = np.full((1, len(arms)), np.nan)
    if not reason:
        stream = numpy_stream(root, "bootstrap", "ranking", ranking.question, *arms)
        deviations = _deviations(fit, (wins, ties), clusters, stream, resamples)
        reason = "no spread" if np.allclose(deviations, 0.0, atol=RIDGE) else ""
        draws = fit.logs + deviations
    sampled = Sampled(fit.logs, draws)
    order = Sampled.of(_ranks, sampled)
    expected = Sampled.of(lambda logs: _expected(logs, fit.log_tie), sampled)
    return replace(
        ranking,
        strengths={arm: float(value) for arm, value in zip(arms, fit.logs, strict=True)},
        tie=float(np.exp(fit.log_tie)),
        intervals={arm: _estimate(sampled[i], reason) for i, arm in enumerate(arms)},
        beats={
            (arms[i], arms[j]): _estimate(expected[i, j], reason)
            for i, j in combinations(range(len(arms)), 2)
        },
        best={} if reason else {arm: float((order.draws[:, i] == 1).mean()) for i, arm in enumerate(arms)},
        ranks={arm: _estimate(order[i], reason) for i, arm in enumerate(arms)},
        intransitive=intransitive_triples((wins + ties / 2).sum(axis=0)),
    )


def _estimable(wins: FloatArray) -> list[int]:
    """Return the places of the arms [A, A] that can be ranked with each other: the largest such group.

    In it each arm beat each other one, if only by way of others, see ``is_connected``. What the other arms
    won and lost leaves the strengths in the group as they are: with a strength that grows without end, each
    of their answers is certain. Of groups of one size the one with most answers among its arms is taken.
    """
    count, labels = connected_components(wins > 0, directed=True, connection="strong")
    groups = [np.flatnonzero(labels == label) for label in range(count)]
    largest = max(groups, key=lambda group: (len(group), wins[np.ix_(group, group)].sum(), -group[0]))
    return [int(place) for place in largest]


def _why_apart(place: int, ranked: Sequence[int], wins: FloatArray, ties: FloatArray) -> str:
    """Return why the arm at ``place`` has no strength beside the ``ranked`` ones."""
    won, lost = wins[place].sum(), wins[:, place].sum()
    if won + lost + ties[place].sum() == 0:
        return "not compared"
    if lost == 0 or won == 0:
        never = "lost" if lost == 0 else "won"
        return f"never {never} in {won + lost + ties[place].sum():.0f} answers"
    won, lost = wins[place, ranked].sum(), wins[ranked, place].sum()
    if won + lost == 0:
        return "never compared with the arms that are ranked, or only tied"
    return f"never {'lost to' if lost == 0 else 'preferred to'} an arm that is ranked"


def intransitive_triples(points: FloatArray) -> int:
    """Return how many triples of arms go round in a circle by majority of ``points`` [A, A]."""
    ahead = (points > points.T).astype(np.intp)
    return int(np.trace(ahead @ ahead @ ahead)) // 3


def _derivatives(
    now: FloatArray, wins: FloatArray, ties: FloatArray, *, davidson: bool
) -> tuple[FloatArray, FloatArray]:
    """Return gradient [..., A + 1] and information [..., A + 1, A + 1] of the log-likelihood at ``now``."""
    arms = wins.shape[-1]
    there = np.swapaxes(wins, -1, -2)
    number = wins + there + ties
    here, tie = _probabilities(now[..., :arms], now[..., arms] if davidson else np.array(-np.inf))
    mean = (here - np.swapaxes(here, -1, -2)) / 2
    spread = number * ((1 - tie) / 4 - mean**2)
    gradient, information = np.zeros_like(now), np.zeros((*now.shape, arms + 1))
    gradient[..., :arms] = ((wins - there) / 2 - number * mean).sum(axis=-1)
    gradient[..., arms] = (ties - number * tie).sum(axis=(-1, -2)) / 2
    information[..., :arms, :arms] = spread.sum(axis=-1)[..., None] * np.eye(arms) - spread
    cross = -(number * mean * tie).sum(axis=-1)
    information[..., :arms, arms] = information[..., arms, :arms] = cross
    information[..., arms, arms] = (number * tie * (1 - tie)).sum(axis=(-1, -2)) / 2
    return gradient, information


def _probabilities(logs: FloatArray, log_tie: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return how probable it is that arm i is preferred to arm j, and that they tie: [..., A, A] each."""
    half = (logs[..., :, None] - logs[..., None, :]) / 2
    nu = np.exp(log_tie)[..., None, None]
    total = np.exp(half) + np.exp(-half) + nu
    return np.exp(half) / total, nu / total


def _expected(logs: FloatArray, log_tie: FloatArray) -> FloatArray:
    """Return the probability that arm i is preferred to arm j, a tie counting half: [..., A, A]."""
    win, tie = _probabilities(logs, log_tie)
    return np.asarray(win + tie / 2)


def _ranks(logs: FloatArray) -> FloatArray:
    """Return the rank of each arm, from 1 for the strongest: [..., A]."""
    return np.asarray(np.argsort(np.argsort(-logs, axis=-1), axis=-1) + 1.0)


def _deviations(
    fit: Strengths,
    votes: tuple[FloatArray, FloatArray],
    clusters: tuple[IntArray, IntArray],
    stream: np.random.Generator,
    resamples: int,
) -> FloatArray:
    """Return what resampled prompts and raters move the log-strengths by: [B, A]."""
    prompts, raters = clusters
    both = encode(list(zip(prompts.tolist(), raters.tolist(), strict=True)))
    parts = [_one_way(fit, votes, codes, stream, resamples) for codes in (prompts, raters, both)]
    by_prompt, by_rater, by_both = (float((part**2).mean(axis=0).sum()) for part in parts)
    wanted = max(by_prompt + by_rater - by_both, by_prompt, by_rater)
    scale = np.sqrt(wanted / max(by_prompt + by_rater, LEAST))
    counts = int(prompts.max()) + 1, int(raters.max()) + 1
    one_way = np.array(by_prompt), np.array(max(by_rater, LEAST))
    freedom = float(degrees_of_freedom(np.array(max(wanted, LEAST)), one_way, *counts))
    student = np.sqrt(freedom / stream.chisquare(freedom, size=(resamples, 1)))
    return np.asarray((parts[0] + parts[1]) * scale * student)


def _one_way(
    fit: Strengths,
    votes: tuple[FloatArray, FloatArray],
    codes: IntArray,
    stream: np.random.Generator,
    resamples: int,
) -> FloatArray:
    """Return the deviations [B, A] where the clusters ``codes`` [n] are resampled."""
    count, arms = int(codes.max()) + 1, len(fit.logs)
    weights = stream.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
    drawn = []
    for kind in votes:
        sums = np.zeros((count, arms * arms))
        np.add.at(sums, codes, kind.reshape(-1, arms * arms))
        drawn.append((weights @ sums).reshape(-1, arms, arms))
    again = fit_strengths(drawn[0], drawn[1], ridge=RIDGE)
    return np.asarray((again.logs - fit.logs) * np.sqrt(count / (count - 1)))


def _too_few(prompts: IntArray, raters: IntArray) -> str:
    """Return why there can be no interval, or nothing."""
    for name, codes in (("prompts", prompts), ("raters", raters)):
        if codes.max() + 1 < MIN_RESAMPLED:
            return f"fewer than {MIN_RESAMPLED} {name}"
    return ""


def _estimate(sampled: Sampled, reason: str) -> Estimate:
    return Estimate.none(reason) if reason else sampled.estimate()
