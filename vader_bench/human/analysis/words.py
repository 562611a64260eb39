"""What a study found, in words: findings, warnings, rules, and how a share is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from vader_bench.human.analysis.estimates import EXPLORATORY, Outcome, StudyAnalysis
from vader_bench.human.plan import StudyPlan
from vader_bench.human.responses import REJECTED, SIMULATED, rejection_warning
from vader_bench.report.words import p_text
from vader_bench.stats.bootstrap import Estimate
from vader_bench.stats.power import MOST_OF_ONE
from vader_bench.stats.preference import MIN_CLUSTERS, NO_TEST, SIGN, Preference, Share, exact_p_value

__all__ = ["banner", "findings", "interval_kind", "percent", "quoted", "rules", "stamped", "warnings"]

SURELY: Final = 0.001
"""Level at which a habit is no chance, so that honest studies are left in peace."""


def stamped(analysis: StudyAnalysis, text: str) -> str:
    """Return ``text`` behind what every output has to say of itself, if anything."""
    return ": ".join([*([", ".join(analysis.stamps)] if analysis.stamps else []), text])


def banner(analysis: StudyAnalysis) -> list[str]:
    """Return a sentence for each stamp."""
    meanings = {
        SIMULATED: "no person gave these answers; they say nothing about any video.",
        EXPLORATORY: "the plan is not the one that was published; what follows is no test of it.",
    }
    return [f"{stamp}: {meanings[stamp]}" for stamp in analysis.stamps]


def quoted(preference: Preference) -> Estimate:
    """Return the share with the clustered interval, the one to go by; bare where there is none.

    Wilson's never stands in: it takes all answers for independent, and claims too much.
    """
    share = preference.share
    if not share.clustered.absent or share.wilson.absent:
        return share.clustered
    return Estimate(share.wilson.value, np.nan, np.nan)


def interval_kind(preference: Preference) -> str:
    """Return what interval ``quoted`` gives, or why it gives none."""
    return preference.share.clustered.absent or "two-way clustered"


def percent(estimate: Estimate) -> str:
    """Return a share as ``65.0 % [58.2, 71.4]``, or why there is none."""
    if estimate.absent:
        return estimate.absent
    value = f"{100 * estimate.value:.1f} %"
    if np.isnan(estimate.low):
        return value
    return f"{value} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def findings(analysis: StudyAnalysis, plan: StudyPlan) -> list[str]:
    """Return one sentence for each question and pair, those of the primary question first."""
    texts = {question.id: question.text for question in plan.questions}
    order = sorted(analysis.outcomes, key=lambda one: one.question != analysis.primary)
    return [stamped(analysis, _finding(one, texts[one.question])) for one in order]


def warnings(analysis: StudyAnalysis) -> list[str]:
    """Return what a reader must know before believing a number."""
    return [*banner(analysis), *_warnings(analysis)]


def rules(plan: StudyPlan) -> list[str]:
    """Return what blocks were left out for, as it stands in the plan."""
    limits = plan.exclusion
    return [
        "no question answered",
        f"fewer than {limits.gold_right:.0%} of the questions on gold pairs answered right",
        f"less than {limits.watched:.0%} of a video played",
        (
            f"fewer than {limits.repeats_same:.0%} of the repeated questions answered as before, "
            f"of {limits.repeats_answers} or more that one person answered"
        ),
        f"one side taken with p below {limits.one_sided_p:g} in {limits.one_sided_items} answers or more",
        f"a pair done in less than the {plan.video.seconds:.3g} s of a video, by the median",
        f"more than {plan.blocks.per_rater} blocks by one person, the later ones",
        "the same person having sent it before",
        "another person having answered it before, whose answers are used",
        f"being {REJECTED}",
    ]


def _finding(one: Outcome, text: str) -> str:
    if not one.main.share.responses:
        return f"“{text}” {one.first} against {one.second}: no answers."
    ahead, behind, share = one.first, one.second, quoted(one.main)
    if share.value < 0.5:
        share = Estimate(1 - share.value, 1 - share.high, 1 - share.low)
        ahead, behind = behind, ahead
    counted = (
        f"“{text}” {ahead} was preferred to {behind} in {100 * share.value:.1f} % of "
        f"{one.main.share.responses} answers"
    )
    if one.main.share.test == NO_TEST:
        of = f"{one.main.share.raters} raters on {one.main.share.prompts} prompts"
        return f"{counted} of {of}: {too_few(one)}."
    shown = "no preference is shown" if one.preferred is None else f"a preference for {ahead} is shown"
    interval = f"95 % interval {100 * share.low:.1f} to {100 * share.high:.1f} %, two-way clustered"
    if one.main.share.test == SIGN:
        interval = "all raters and all prompts lean alike, so that there is no interval"
    p_value = p_text(one.main.p_holm)
    equals = p_value if p_value.startswith("<") else f"= {p_value}"
    return f"{counted} ({interval}; p {equals} after Holm's correction): {shown}."


def too_few(one: Outcome) -> str:
    """Return why there is no test of an outcome that has answers."""
    return one.main.share.clustered.absent


def _careless(name: str, one: Outcome) -> Iterator[str]:
    """Yield signs of raters who did not look, which the rules of the plan may not have caught."""
    side = one.side
    if side.responses and side.p_value < SURELY:
        yield (
            f"{name}: the left video was chosen in {percent(_bare(side))} of the answers, where half is "
            "to be expected: raters may not have looked"
        )
    repeats = one.consistency.repeats
    same = round(repeats * one.consistency.same.value) if repeats else 0
    if 2 * same < repeats and exact_p_value(same, repeats - same) < SURELY:
        yield (
            f"{name}: {same} of {repeats} repeats were answered as before, fewer than chance gives: "
            "raters may not have looked"
        )


def _bare(share: Share) -> Estimate:
    return Estimate(share.wilson.value, np.nan, np.nan) if share.clustered.absent else share.clustered


def _warnings(analysis: StudyAnalysis) -> Iterator[str]:
    for one in analysis.outcomes:
        name = f"{one.question}, {one.first} over {one.second}"
        share = one.main.share
        if share.responses < one.wanted:
            yield f"{name}: {share.responses} of the {one.wanted} answers that were planned count"
        if share.responses and share.test == NO_TEST:
            yield (
                f"{name}: {too_few(one)} ({share.raters} raters, {share.prompts} prompts; "
                f"{MIN_CLUSTERS} of each at least)"
            )
        yield from _careless(name, one)
        if one.preferred != one.preferred_in_everything:
            yield f"{name}: among all accepted answers the finding is another"
    if analysis.most_of_one > MOST_OF_ONE:
        yield f"one rater gave {analysis.most_of_one:.0%} of the answers"
    if rejected := analysis.flow.unused.get(REJECTED):
        yield rejection_warning(rejected)
    if analysis.published is None:
        yield "the plan was not compared with a published digest (--plan-sha256)"
