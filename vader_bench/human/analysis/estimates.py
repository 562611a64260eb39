"""What a study found: from checked answers, plan and key to estimates, tests and what was left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from vader_bench.errors import UserError
from vader_bench.human.analysis.method import COUNTED_ONCE, check_method
from vader_bench.human.plan import Built, ItemKey
from vader_bench.human.responses import SIMULATED, Choice, Ingested, ItemAnswers, Source, Submission, tally
from vader_bench.stats.agreement import Agreement, Consistency, measure_agreement, measure_consistency
from vader_bench.stats.bootstrap import Estimate
from vader_bench.stats.preference import (
    ALPHA,
    NO_TEST,
    Answer,
    Preference,
    Response,
    Share,
    compare_preferences,
    side_bias,
)
from vader_bench.stats.ranking import Ranking, rank_arms

__all__ = [
    "EXPLORATORY",
    "Collected",
    "Flow",
    "Outcome",
    "StudyAnalysis",
    "analyse_study",
    "collect",
    "given_items",
]

EXPLORATORY: Final = "EXPLORATORY"
"""Stamped on an analysis by another plan than the one that was published."""

_ANSWERS: Mapping[Choice, Answer] = {"L": "left", "R": "right", "T": "tie"}
_Group: TypeAlias = tuple[str, str, str]


class Collected(NamedTuple):
    """Answers that count, and how many do not."""

    responses: list[Response]
    """On pairs of two arms, repeats among them and marked; golds are not here."""
    counted: set[tuple[str, str, str]]
    """Source, pair and question of those that are no repeats."""
    later: int
    """Answers of a person to a question on a prompt and pair of arms that the person had answered before."""
    unanswered: int
    """Questions left open because a video did not play; repeats not counted."""


@dataclass(frozen=True)
class Flow:
    """What became of the rows of the results files."""

    rows: int
    refused: dict[str, int]
    """Rows that are no answer to this study, by reason."""
    accepted: int
    """Blocks: one submission each."""
    unpaid: dict[str, int]
    """Accepted blocks by why they need not be paid; one may have several reasons."""
    unpaid_blocks: int
    unused: dict[str, int]
    """The same by why the main analysis leaves them out."""
    used: int
    raters_accepted: int
    raters_used: int
    """Who gave at least one block that is used."""
    later: int
    """Among used blocks, see ``Collected``."""
    unanswered: int


@dataclass(frozen=True)
class Outcome:
    """One question about one pair of arms."""

    question: str
    first: str
    second: str
    wanted: int
    """Answers planned."""
    main: Preference
    """From the blocks that are used: the result."""
    everything: Preference
    """From all accepted blocks, to be read beside it."""
    side: Share
    """How often the left video was chosen, whichever arm it was."""
    agreement: Agreement
    consistency: Consistency
    seconds: float
    """Median time that a pair of videos took, from its appearance to the next one; NaN without answers."""

    @property
    def preferred(self) -> str | None:
        """Return the arm whose preference is shown at the 5 % level after Holm's correction.

        ``None`` too where there is no test: with too few raters or prompts nothing is found.
        """
        return _preferred(self.main)

    @property
    def preferred_in_everything(self) -> str | None:
        """Return the same of all accepted blocks."""
        return _preferred(self.everything)


@dataclass(frozen=True)
class StudyAnalysis:
    """All that a study found."""

    study: str
    plan_sha256: str
    published: str | None
    """Digest of the plan that was published; ``None`` where none was given to compare with."""
    simulated: bool
    primary: str
    paper: bool
    """Whether this is the paper's own study: nowhere else do the paper's numbers belong beside."""
    outcomes: tuple[Outcome, ...]
    """By question as in the plan, then by pair as in the plan."""
    rankings: tuple[Ranking, ...]
    """By question; empty with two arms."""
    flow: Flow
    block_seconds: float
    """Median time that a used block took; NaN without one."""
    hourly: float
    """What that pays an hour."""
    most_of_one: float
    """Largest share of the answers that count which one rater gave."""
    platforms: tuple[str, ...]
    sources: tuple[Source, ...]

    @property
    def stamps(self) -> list[str]:
        """Return what every output has to say of itself."""
        exploratory = self.published is not None and self.published != self.plan_sha256
        return [SIMULATED] * self.simulated + [EXPLORATORY] * exploratory


def analyse_study(ingested: Ingested, built: Built, published: str | None = None) -> StudyAnalysis:
    """Return what ``ingested`` says, by the plan of ``built``.

    Args:
        ingested: the answers.
        built: the study.
        published: SHA-256 of the plan as it was published; if it is another one than that of the plan, the
            analysis is exploratory.

    Raises:
        UserError: the answers are to another plan, or none is used, or the plan fixes another analysis than
            this, or ``published`` is no SHA-256.
    """
    _check(ingested, built, published)
    check_method(built.plan)
    main = everything = collect(built, ingested.used)
    if len(ingested.used) < len(ingested.submissions):
        everything = collect(built, ingested.submissions)
    if not any(not response.repeat for response in main.responses):
        wrong = f"has no answer that is used, of {len(ingested.submissions)} accepted blocks"
        raise UserError(f"study {ingested.study}", wrong, "collect more answers")
    questions = [question.id for question in built.plan.questions]
    arms = list(reversed(built.arms))
    block_times = [sum(item.milliseconds for item in one.items) / 1000 for one in ingested.used]
    block_seconds = float(np.median(block_times))
    counts = Counter(response.rater for response in main.responses if not response.repeat)
    return StudyAnalysis(
        study=ingested.study,
        plan_sha256=ingested.plan_sha256,
        published=published,
        simulated=ingested.simulated,
        primary=built.plan.primary,
        paper=built.plan.paper,
        outcomes=tuple(_outcomes(built, ingested.used, main.responses, everything.responses)),
        rankings=tuple(rank_arms(main.responses, arms, q) for q in questions) if len(arms) > 2 else (),
        flow=_flow(ingested, main),
        block_seconds=block_seconds,
        hourly=built.plan.pay.reward * 3600 / block_seconds if block_seconds else np.nan,
        most_of_one=max(counts.values()) / counts.total(),
        platforms=tuple(sorted({one.platform for one in ingested.submissions})),
        sources=tuple(ingested.sources),
    )


def collect(built: Built, submissions: Iterable[Submission]) -> Collected:
    """Return the answers in ``submissions`` that count, in their order.

    A person may meet a prompt again in another block: of the answers to a question on a prompt and pair of
    arms only the first counts. A repeat goes with the answer that it repeats: where that does not count, nor
    does the repeat, and it stands in the way of no later answer.

    Raises:
        UserError: a block or a pair is none of the study.
    """
    seen: set[tuple[object, ...]] = set()
    responses: list[Response] = []
    counted: set[tuple[str, str, str]] = set()
    later = unanswered = 0
    for submission in submissions:
        for item, given in given_items(built, submission):
            for question in built.plan.questions if item.role != "gold" else ():
                choice = given.answers.get(question.id)
                place = _place(submission, question.id, item)
                if item.role == "repeat":
                    if choice is not None and (submission.source, item.repeats, question.id) in counted:
                        responses.append(_response(submission.rater, question.id, item, choice))
                elif place in seen:
                    later += choice is not None
                elif choice is None:
                    unanswered += 1
                else:
                    seen.add(place)
                    counted.add((submission.source, item.id, question.id))
                    responses.append(_response(submission.rater, question.id, item, choice))
    return Collected(responses, counted, later, unanswered)


def _place(submission: Submission, question: str, item: ItemKey) -> tuple[object, ...]:
    """Return what an answer must differ in from those that count to count itself."""
    parts = {
        "rater": submission.rater,
        "question": question,
        "prompt": item.prompt,
        "pair of arms": frozenset((item.left, item.right)),
    }
    return tuple(parts[name] for name in COUNTED_ONCE)


def _response(rater: str, question: str, item: ItemKey, choice: Choice) -> Response:
    return Response(
        rater=rater,
        prompt=item.prompt,
        question=question,
        left=item.left,
        right=item.right,
        answer=_ANSWERS[choice],
        sample=item.sample,
        repeat=item.role == "repeat",
    )


def given_items(built: Built, submission: Submission) -> list[tuple[ItemKey, ItemAnswers]]:
    """Return what the key says of each pair of a block, and what was answered.

    Raises:
        UserError: the block or a pair of it is none of the study.
    """
    given = {item.id: item for item in submission.items}
    items = built.key.blocks.get(submission.block, [])
    if not items or {item.id for item in items} != set(given):
        wrong = f"answers block {submission.block!r}, which is not so in the key"
        raise UserError(f"responses of {submission.source}", wrong, "run `study ingest` on this study again")
    return [(item, given[item.id]) for item in items]


def _check(ingested: Ingested, built: Built, published: str | None) -> None:
    given = f"responses to {ingested.study}"
    if ingested.study != built.key.study or ingested.plan_sha256 != built.plan.digest:
        wrong = (
            f"were given to the plan {ingested.plan_sha256[:12]}, and this one is {built.plan.digest[:12]}"
        )
        raise UserError(given, wrong, "analyse them with the study that was answered, or ingest them again")
    if published is not None and not re.fullmatch(r"[0-9a-f]{64}", published):
        raise UserError(f"plan SHA-256 {published!r}", "is none", "give the 64 hexadecimal digits published")


def _outcomes(
    built: Built, used: Sequence[Submission], main: Sequence[Response], everything: Sequence[Response]
) -> list[Outcome]:
    questions = [question.id for question in built.plan.questions]
    of_main = of_all = _preferences(built, main)
    if everything is not main:
        of_all = _preferences(built, everything)
    found = []
    for group in [(question, *pair) for question in questions for pair in built.pairs]:
        question, first, second = group
        pair = {first, second}
        own = [r for r in main if r.question == question and {r.left, r.right} == pair]
        found.append(
            Outcome(
                question=question,
                first=first,
                second=second,
                wanted=built.plan.responses_per_comparison,
                main=of_main.get(group) or _nothing(*group),
                everything=of_all.get(group) or _nothing(*group),
                side=side_bias(own),
                agreement=measure_agreement(own, (first, second), question, ties=built.plan.ties),
                consistency=measure_consistency(own),
                seconds=_median_seconds(built, used, pair, question),
            )
        )
    return found


def _preferences(built: Built, responses: Sequence[Response]) -> dict[_Group, Preference]:
    """Return the preferences by question and pair; the first of a pair is listed later in the study file."""
    arms = list(reversed(built.arms))
    questions = [question.id for question in built.plan.questions]
    family = [(question, *pair) for question in questions for pair in built.pairs]
    found = compare_preferences(responses, arms, questions, family)
    return {(one.question, one.first, one.second): one for one in found}


def _nothing(question: str, first: str, second: str) -> Preference:
    none = Estimate.none("no answers")
    share = Share(0, 0, 0, 0, 0, none, none, np.nan, NO_TEST)
    return Preference(question, first, second, share, none, np.nan)


def _median_seconds(built: Built, used: Sequence[Submission], pair: set[str], question: str) -> float:
    times = [
        given.milliseconds / 1000
        for submission in used
        for item, given in given_items(built, submission)
        if item.role == "main" and {item.left, item.right} == pair and given.answers.get(question)
    ]
    return float(np.median(times)) if times else np.nan


def _flow(ingested: Ingested, main: Collected) -> Flow:
    accepted = ingested.submissions
    return Flow(
        rows=sum(source.rows for source in ingested.sources),
        refused=tally(refusal.reason for refusal in ingested.refused),
        accepted=len(accepted),
        unpaid=tally(reason for one in accepted for reason in one.unpaid),
        unpaid_blocks=sum(bool(one.unpaid) for one in accepted),
        unused=tally(reason for one in accepted for reason in one.unused),
        used=len(ingested.used),
        raters_accepted=len({one.rater for one in accepted}),
        raters_used=len({one.rater for one in ingested.used}),
        later=main.later,
        unanswered=main.unanswered,
    )


def _preferred(preference: Preference) -> str | None:
    share = preference.share.wilson.value
    if not preference.p_holm < ALPHA or share == 0.5:  # no test has no p-value, which is no number
        return None
    return preference.first if share > 0.5 else preference.second
