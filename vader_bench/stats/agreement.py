"""How far raters agree on which arm is better, and with themselves when they see an item again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vader_bench.errors import UserError
from vader_bench.seeding import numpy_stream
from vader_bench.stats.aggregate import FloatArray
from vader_bench.stats.bootstrap import Estimate, Sampled
from vader_bench.stats.preference import Response, first_answers, wilson

__all__ = [
    "Agreement",
    "Consistency",
    "gwet_ac1",
    "krippendorff_alpha",
    "match_repeats",
    "measure_agreement",
    "measure_consistency",
    "pairwise_agreement",
    "tally_labels",
]

RESAMPLES = 2000
MIN_ITEMS = 8
"""With fewer items judged twice a bootstrap over items says too little to be shown."""


@dataclass(frozen=True)
class Agreement:
    """Agreement on one question about one pair of arms, over items that two raters or more judged."""

    question: str
    first: str
    second: str
    items: int
    """Items with two labels or more; no other says anything about agreement."""
    labels: int
    """Labels on those items."""
    pairwise: Estimate
    """Share of pairs of raters who agree on an item, averaged over items."""
    alpha: Estimate
    """Krippendorff's alpha: 1 is perfect, 0 is chance; low by nature where one arm nearly always wins."""
    ac1: Estimate
    """Gwet's AC1, which a one-sided outcome does not pull down."""


@dataclass(frozen=True)
class Consistency:
    """How often a rater who sees an item again prefers the same arm, with Wilson's intervals."""

    repeats: int
    """Those whose first answer is there."""
    same: Estimate
    same_when_swapped: Estimate
    """Where the arms had changed sides: below ``same_when_not`` it shows a habit of one side."""
    same_when_not: Estimate


def tally_labels(responses: Sequence[Response], first: str, second: str) -> FloatArray:
    """Return how often each item got each label: [items, 3], the labels ``first``, ``second`` and tie.

    Labels are arms and never sides: sides are random, so raters agree on them by chance alone. An item is
    a question, a prompt and a sample; responses about other pairs and repeats are passed over.
    """
    items: dict[tuple[str, str, int], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    columns = {first: 0, second: 1, None: 2}
    for response in first_answers(responses):
        if {response.left, response.right} == {first, second}:
            items[response.question, response.prompt, response.sample][columns[response.chosen]] += 1
    return np.array([items[key] for key in sorted(items)]).reshape(-1, 3)


def pairwise_agreement(counts: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the share of agreeing pairs of labels within an item, averaged over items: [...].

    Args:
        counts: labels by item, [items, categories], one at least; items with a single one are passed over.
        weights: how often each item counts, [..., items]; ones for the data as they are.
    """
    labels = counts.sum(axis=1)
    shares = _agreeing(counts) / labels
    return _ratio(weights @ shares, weights @ (labels > 1).astype(np.float64))


def krippendorff_alpha(counts: FloatArray, weights: FloatArray) -> FloatArray:
    """Return Krippendorff's alpha for nominal labels: [...]; arguments as for ``pairwise_agreement``.

    1 - D_o / D_e from the coincidences of labels (Krippendorff 2011, "Computing Krippendorff's
    alpha-reliability"): D_o = n - (agreeing coincidences), D_e = (n^2 - sum of n_c^2) / (n - 1) over the
    n labels that have a partner. NaN where one category alone occurs: chance would be perfect, too.
    """
    totals = weights @ (counts * (counts.sum(axis=1, keepdims=True) > 1))
    number = totals.sum(axis=-1)
    observed = number - weights @ _agreeing(counts)
    return 1 - _ratio(observed * (number - 1), number**2 - (totals**2).sum(axis=-1))


def gwet_ac1(counts: FloatArray, weights: FloatArray) -> FloatArray:
    """Return Gwet's AC1: [...]; arguments as for ``pairwise_agreement``.

    (p_a - p_e) / (1 - p_e), where p_e = sum of pi (1 - pi) / (K - 1) over the K columns of ``counts``
    and pi is a category's share averaged over all items, those with one label too (Gwet 2008, "Computing
    inter-rater reliability and its variance in the presence of high agreement"). All K categories that
    raters could choose count, used or not.
    """
    shares = counts / counts.sum(axis=1, keepdims=True)
    prevalence = _ratio(weights @ shares, weights.sum(axis=-1)[..., None])
    chance = (prevalence * (1 - prevalence)).sum(axis=-1) / (counts.shape[1] - 1)
    return _ratio(pairwise_agreement(counts, weights) - chance, 1 - chance)


def measure_agreement(
    responses: Sequence[Response], pair: tuple[str, str], question: str, *, ties: bool, root: int = 0
) -> Agreement:
    """Return the agreement on ``question`` about two arms, with intervals from a bootstrap over items.

    Args:
        responses: of one study; those on other questions and pairs are passed over.
        pair: the two arms.
        question: the question.
        ties: whether raters could answer that both are about the same.
        root: root seed of the named streams.

    Raises:
        UserError: a tie where raters had no such answer, or a rater answered twice.
    """
    first, second = pair
    counts = tally_labels([r for r in responses if r.question == question], first, second)
    if not ties and counts[:, 2].any():
        remedy = "say that the study offers ties"
        raise UserError(f"question {question!r}", "has ties, which raters could not choose", remedy)
    counts = counts if ties else counts[:, :2]
    labels = counts.sum(axis=1)
    several = labels > 1
    estimates = [Estimate.none(f"fewer than {MIN_ITEMS} items judged twice")] * 3
    if several.sum() >= MIN_ITEMS:
        stream = numpy_stream(root, "bootstrap", "items", question, *sorted(pair))
        share = np.full(len(counts), 1 / len(counts))
        weights = stream.multinomial(len(counts), share, size=RESAMPLES).astype(np.float64)
        estimates = [
            _estimate(statistic, counts, weights)
            for statistic in (pairwise_agreement, krippendorff_alpha, gwet_ac1)
        ]
    return Agreement(question, first, second, int(several.sum()), int(labels[several].sum()), *estimates)


def match_repeats(responses: Sequence[Response]) -> list[tuple[Response, Response]]:
    """Return every planned repeat that has a first answer, after that answer."""
    firsts = {response.item: response for response in first_answers(responses)}
    return [(firsts[r.item], r) for r in responses if r.repeat and r.item in firsts]


def measure_consistency(responses: Sequence[Response]) -> Consistency:
    """Return how often planned repeats got the answer they got at first; a tie agrees with a tie."""
    pairs = match_repeats(responses)
    swapped = [(first, again) for first, again in pairs if first.left != again.left]
    kept = [(first, again) for first, again in pairs if first.left == again.left]
    return Consistency(
        repeats=len(pairs),
        same=_same(pairs),
        same_when_swapped=_same(swapped),
        same_when_not=_same(kept),
    )


def _same(pairs: Sequence[tuple[Response, Response]]) -> Estimate:
    return wilson(sum(first.chosen == again.chosen for first, again in pairs), len(pairs))


def _agreeing(counts: FloatArray) -> FloatArray:
    """Return the agreeing coincidences of each item, sum of c (c - 1) / (m - 1); 0 for a single label."""
    return np.asarray((counts * (counts - 1)).sum(axis=1) / np.maximum(counts.sum(axis=1) - 1, 1))


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Return ``above / below``, NaN where ``below`` is zero."""
    zero = np.broadcast_to(below == 0, np.shape(above))
    return np.where(zero, np.nan, above / np.where(zero, 1.0, below))


def _estimate(
    statistic: Callable[[FloatArray, FloatArray], FloatArray], counts: FloatArray, weights: FloatArray
) -> Estimate:
    """Return ``statistic`` with its interval over the resamples in which it is defined."""
    point = statistic(counts, np.ones(len(counts)))
    if np.isnan(point):
        return Estimate.none("undefined")
    draws = statistic(counts, weights)
    return Sampled(point, draws[~np.isnan(draws)]).estimate()
