"""Whose work is paid and whose answers are used, by rules that the plan fixed before any answer.

Two tiers. *Paid* is everyone with a whole, readable answer, however bad it looks; the exceptions are few.
*Used* in the main analysis are blocks that pass every rule of ``plan.exclusion``. None of these rules knows
which arm was on which side: all that they get of the key is ``BlindItem``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, Literal

from vader_bench.human.config import GoldKind
from vader_bench.human.plan import Key, Role, StudyPlan
from vader_bench.human.responses import REJECTED, Choice, ItemAnswers, Submission
from vader_bench.stats.preference import exact_p_value

__all__ = ["Blind", "BlindItem", "blind_view", "judge"]

_SWAPPED: Final[Mapping[Choice, Choice]] = {"L": "R", "R": "L", "T": "T"}


@dataclass(frozen=True)
class BlindItem:
    """A pair of videos without its arms."""

    id: str
    role: Role
    prompt: str
    gold: GoldKind | None
    right_answer: Literal["L", "R"] | None
    repeats: str | None


Blind = Mapping[str, Sequence[BlindItem]]
"""Pairs by block."""


def blind_view(key: Key) -> dict[str, list[BlindItem]]:
    """Return what the rules may know of ``key``."""
    return {
        block: [
            BlindItem(item.id, item.role, item.prompt, item.gold, item.right_answer, item.repeats)
            for item in items
        ]
        for block, items in key.blocks.items()
    }


@dataclass
class _Verdict:
    unpaid: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def judge(
    submissions: Sequence[Submission], blind: Blind, plan: StudyPlan, rejected: Collection[str] = ()
) -> list[Submission]:
    """Return ``submissions`` with the reasons why some are not paid or not used.

    A block sent again by the same person counts nowhere. Of several people on one block the first is used who
    passes all other rules, so that a task given out again replaces what was left out.

    Args:
        submissions: all readable answers, in order of submission.
        blind: the pairs of each block.
        plan: the plan, for its rules.
        rejected: sources of those that the platform says were rejected: neither judged nor counted further.
    """
    verdicts = [_Verdict() for _ in submissions]
    counted = list(_counted(submissions, verdicts, rejected))
    by_rater: dict[str, list[int]] = defaultdict(list)
    for index in counted:
        by_rater[submissions[index].rater].append(index)
    for indices in by_rater.values():
        own = [submissions[index] for index in indices]
        habits = [*_one_sided(own, plan), *_inconsistent(own, blind, plan)]
        for turn, index in enumerate(indices, start=1):
            one, verdict = submissions[index], verdicts[index]
            verdict.unpaid += _nothing_done(one)
            verdict.unused += _block_faults(one, blind[one.block], plan)
            verdict.unused += habits
            if turn > plan.blocks.per_rater:
                verdict.unused.append(
                    f"block {turn} of this person, more than the {plan.blocks.per_rater} that each may answer"
                )
    first: dict[str, str] = {}
    for index in counted:
        one, verdict = submissions[index], verdicts[index]
        if one.block in first:
            verdict.unused.append(f"block answered before by another person ({first[one.block]})")
        elif not verdict.unused:
            first[one.block] = one.source
    return [
        one.model_copy(update={"unpaid": verdict.unpaid, "unused": verdict.unused})
        for one, verdict in zip(submissions, verdicts, strict=True)
    ]


def _counted(
    submissions: Sequence[Submission], verdicts: Sequence[_Verdict], rejected: Collection[str]
) -> Iterator[int]:
    """Yield the places of what the rules look at, and say why the others are left out."""
    sent: dict[tuple[str, str], str] = {}
    for index, (one, verdict) in enumerate(zip(submissions, verdicts, strict=True)):
        if one.source in rejected:
            verdict.unused.append(REJECTED)
        elif (before := sent.setdefault((one.rater, one.block), one.source)) != one.source:
            reason = f"the same person sent this block before ({before})"
            verdict.unpaid.append(reason)
            verdict.unused.append(reason)
        else:
            yield index


def _answered(submission: Submission) -> list[ItemAnswers]:
    return [item for item in submission.items if any(item.answers.values())]


def _nothing_done(submission: Submission) -> list[str]:
    """Return why a block is not paid: no answer, nothing played, and the browser saw no error either."""
    played = any(any(item.watched) or any(item.ended) or any(item.errors) for item in submission.items)
    if played or _answered(submission):
        return []
    return ["nothing was answered and no video was played, though none failed"]


def _block_faults(submission: Submission, pairs: Sequence[BlindItem], plan: StudyPlan) -> list[str]:
    """Return why a block by itself is not used."""
    answered = _answered(submission)
    if not answered:
        return ["nothing was answered"]
    answers = {item.id: item.answers for item in answered}
    rules = plan.exclusion
    reasons = []
    right = list(_golds(answers, pairs, plan))
    if right and sum(right) / len(right) < rules.gold_right:
        reasons.append(f"{sum(right)} of {len(right)} gold questions right, less than {rules.gold_right:.0%}")
    unwatched = [share for item in answered if (share := min(item.watched)) < rules.watched]
    if unwatched:
        reasons.append(
            f"{len(unwatched)} of {len(answered)} answered pairs not watched to {rules.watched:.0%}, "
            f"the worst to {min(unwatched):.1%}"
        )
    seconds = median(item.milliseconds for item in answered) / 1000
    if seconds < plan.video.seconds:
        reasons.append(
            f"median time for a pair {seconds:.3g} s, less than the {plan.video.seconds:.3g} s of a video"
        )
    return reasons


def _golds(
    answers: Mapping[str, Mapping[str, Choice | None]], pairs: Sequence[BlindItem], plan: StudyPlan
) -> Iterator[bool]:
    """Yield whether each gold question was answered right; a gold pair tests the questions of its kind."""
    for pair in pairs:
        for question in plan.questions:
            if pair.id in answers and pair.gold is not None and question.gold == pair.gold:
                yield answers[pair.id][question.id] == pair.right_answer


def _repeats(
    answers: Mapping[str, Mapping[str, Choice | None]], pairs: Sequence[BlindItem]
) -> Iterator[bool]:
    """Yield whether each repeated question was answered the same, sides swapped."""
    for pair in pairs:
        if pair.repeats is None or pair.repeats not in answers or pair.id not in answers:
            continue
        for question, again in answers[pair.id].items():
            before = answers[pair.repeats][question]
            if again is not None and before is not None:
                yield before == _SWAPPED[again]


def _inconsistent(submissions: Sequence[Submission], blind: Blind, plan: StudyPlan) -> list[str]:
    """Return why a person who answers repeats otherwise too often is not used, on all blocks together."""
    rules = plan.exclusion
    same = [
        one
        for submission in submissions
        for one in _repeats({item.id: item.answers for item in submission.items}, blind[submission.block])
    ]
    if len(same) < rules.repeats_answers or sum(same) / len(same) >= rules.repeats_same:
        return []
    return [
        f"{sum(same)} of {len(same)} repeated questions answered the same, less than {rules.repeats_same:.0%}"
    ]


def _one_sided(submissions: Sequence[Submission], plan: StudyPlan) -> list[str]:
    """Return why a person who takes one side too often is not used, on all blocks together.

    Each question is tested by itself, as answers to two questions on one pair go together. Sides of pairs,
    golds and repeats are drawn, so that an attentive person has either side equally often but for a strong
    preference on an odd number of pairs. Ties take no side.
    """
    rules = plan.exclusion
    for question in plan.questions:
        sides = Counter(item.answers[question.id] for one in submissions for item in one.items)
        left, right = sides["L"], sides["R"]
        p_value = exact_p_value(left, right)
        if left + right >= rules.one_sided_items and p_value < rules.one_sided_p:
            taken = f"{max(left, right)} of {left + right} answers to {question.id!r} are for one side"
            return [f"{taken}, which chance does with p = {p_value:.1g}"]
    return []
