"""The tables of a study, for reading and for programs: results beside the paper's, flow, every answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from vader_bench.human.analysis.estimates import Outcome, StudyAnalysis, collect, given_items
from vader_bench.human.analysis.words import interval_kind, percent, quoted, stamped
from vader_bench.human.plan import Built, ItemKey
from vader_bench.human.responses import Choice, Ingested, reason_kind
from vader_bench.report.paper import PAPER
from vader_bench.report.tables import Table, csv_text
from vader_bench.report.words import estimate_text, p_text
from vader_bench.stats.bootstrap import Estimate
from vader_bench.stats.preference import NO_TEST, wilson

__all__ = [
    "PaperShare", "agreement_table", "flow_table", "habits_table", "narrow_table2", "paper_share",
    "ranking_table", "responses_csv", "table2", "table2_csv",
]  # fmt: skip

PAPER_MODELS: Final = "VADER over ModelScope"
PAPER_COLUMN: Final = f"paper, other models: {PAPER_MODELS}"
ALL_ACCEPTED: Final = "all accepted"
WIDE: Final = ("won / tied / lost", "raters", "prompts", "interval")
"""Columns that a page of paper has no room for."""
PAPER_QUESTIONS: Final = {"text": "text alignment", "quality": "fidelity"}
"""The paper's question by the id that ours has in the paper's form; other ids have no number beside them."""
CSV_COLUMNS: Final = (
    "data", "question", "first", "second", "primary", "answers", "wanted", "raters", "prompts", "wins",
    "ties", "losses", "share", "share_low", "share_high", "interval", "wilson_low", "wilson_high", "p_value",
    "test",
    "p_holm", "preferred", "side_adjusted", "side_adjusted_low", "side_adjusted_high", "all_answers",
    "all_share", "all_low", "all_high", "all_interval", "left_share", "left_low", "left_high",
    "agreement", "alpha", "ac1", "repeats", "repeats_same", "median_seconds", "paper_models",
    "paper_question", "paper_answers", "paper_share", "paper_low", "paper_high",
)  # fmt: skip
RESPONSE_COLUMNS: Final = (
    "data", "rater", "role", "prompt", "sample", "question", "left", "right", "answer", "chosen", "counts",
    "left_out_for", "seconds",
)  # fmt: skip

_Cells: TypeAlias = list[str | int | float]


class PaperShare(NamedTuple):
    """What the paper found on a question like one of ours, with other models."""

    question: str
    answers: int
    share: Estimate
    """With Wilson's interval, by our function: the paper gives none."""


def paper_share(question: str) -> PaperShare | None:
    """Return what the paper's Table 2 says on ``question``, by its id; ``None`` where it has none such."""
    name = PAPER_QUESTIONS.get(question)
    for row in PAPER["table2"].rows:
        if row[0] == name:
            answers = int(row[3])
            wins = round(float(row[1].removesuffix("%")) / 100 * answers)
            return PaperShare(row[0], answers, wilson(wins, answers))
    return None


def table2(analysis: StudyAnalysis) -> Table:
    """Return the result for reading, by question and pair.

    Beside the paper's own study its numbers stand in a column of their own.
    """
    head = [
        "question, arms", "share of the first [95 %]", "p (Holm)", "answers", "won / tied / lost", "raters",
        "prompts", "interval", ALL_ACCEPTED,
    ]  # fmt: skip
    if analysis.paper:
        head.append(PAPER_COLUMN)
    rows = []
    for one in analysis.outcomes:
        share = one.main.share
        paper = paper_share(one.question) if analysis.paper else None
        beside = [f"{paper.question} {percent(paper.share)}" if paper else ""] * analysis.paper
        rows.append(
            [
                _name(one),
                percent(quoted(one.main)),
                "" if share.test == NO_TEST else p_text(one.main.p_holm),
                f"{share.responses} of {one.wanted}",
                f"{share.wins} / {share.ties} / {share.losses}",
                str(share.raters),
                str(share.prompts),
                interval_kind(one.main),
                percent(quoted(one.everything)),
                *beside,
            ]
        )
    return Table(stamped(analysis, "Share of answers that prefer the first arm to the second"), head, rows)


def narrow_table2(analysis: StudyAnalysis) -> Table:
    """Return ``table2`` without the columns that a page of paper, or a terminal, has no room for."""
    table = table2(analysis)
    kept = [place for place, title in enumerate(table.head) if title not in WIDE]
    head, *rows = [[row[place] for place in kept] for row in (table.head, *table.rows)]
    return Table(table.title, head, rows)


def table2_csv(analysis: StudyAnalysis) -> str:
    """Return the result for programs, columns ``CSV_COLUMNS``; shares lie in 0..1."""
    return csv_text(CSV_COLUMNS, [_csv_row(analysis, one) for one in analysis.outcomes])


def agreement_table(analysis: StudyAnalysis) -> Table:
    """Return how far raters agree with each other."""
    head = [
        "question, arms", "pairs judged twice or more", "raters who agree", "Krippendorff's alpha",
        "Gwet's AC1",
    ]  # fmt: skip
    rows = [
        [
            _name(one),
            str(one.agreement.items),
            percent(one.agreement.pairwise),
            estimate_text(one.agreement.alpha),
            estimate_text(one.agreement.ac1),
        ]
        for one in analysis.outcomes
    ]
    return Table(stamped(analysis, "Agreement"), head, rows)


def habits_table(analysis: StudyAnalysis) -> Table:
    """Return how far raters agree with themselves, lean to one side, and how long they took."""
    head = [
        "question, arms", "repeats answered as before", "left chosen",
        "share of the first, sides weighted alike", "median seconds a pair",
    ]  # fmt: skip
    rows = [
        [
            _name(one),
            percent(one.consistency.same),
            percent(one.side.wilson if one.side.clustered.absent else one.side.clustered),
            percent(one.main.side_adjusted),
            "" if np.isnan(one.seconds) else f"{one.seconds:.1f}",
        ]
        for one in analysis.outcomes
    ]
    return Table(stamped(analysis, "Repeats, sides and time"), head, rows)


def flow_table(analysis: StudyAnalysis) -> Table:
    """Return what became of the rows that came in."""
    flow = analysis.flow
    rows = [
        ["rows read", flow.rows],
        *([f"refused: {reason}", count] for reason, count in flow.refused.items()),
        [f"blocks accepted, by {flow.raters_accepted} raters", flow.accepted],
        ["need not be paid", flow.unpaid_blocks],
        *([f"unpaid for: {reason}", count] for reason, count in flow.unpaid.items()),
        ["left out (for one reason or several)", flow.accepted - flow.used],
        *([f"left out for: {reason}", count] for reason, count in flow.unused.items()),
        [f"blocks used, by {flow.raters_used} raters", flow.used],
        ["later answers of a person to the same, not counted", flow.later],
        ["questions left open, as a video did not play", flow.unanswered],
    ]
    return Table(
        stamped(analysis, "From rows to answers"),
        ["", "number"],
        [[str(cell) for cell in row] for row in rows],
    )


def ranking_table(analysis: StudyAnalysis) -> Table | None:
    """Return the rankings for reading; ``None`` with two arms."""
    if not analysis.rankings:
        return None
    rows = []
    for ranking in analysis.rankings:
        if ranking.absent:
            rows.append([ranking.question, ranking.absent, "", "", ""])
        for arm, reason in ranking.apart.items():
            rows.append([ranking.question, arm, f"not estimable: {reason}", "", ""])
        for arm in sorted(ranking.strengths, key=lambda name: -ranking.strengths[name]):
            interval = ranking.intervals[arm]
            strength = (
                f"{ranking.strengths[arm]:.2f} ({interval.absent})"
                if interval.absent
                else estimate_text(interval)
            )
            rank = ranking.ranks[arm]
            place = "" if rank.absent else f"{rank.value:.0f} [{rank.low:.0f}, {rank.high:.0f}]"
            best = f"{ranking.best[arm]:.0%}" if ranking.best else ""
            rows.append([ranking.question, arm, strength, place, best])
    head = ["question", "arm", "log-strength", "rank", "strongest in resamples"]
    return Table(stamped(analysis, "Rankings (Bradley-Terry, Davidson with ties)"), head, rows)


def responses_csv(ingested: Ingested, built: Built, analysis: StudyAnalysis) -> str:
    """Return every answer of accepted blocks, columns ``RESPONSE_COLUMNS``, without what tells who gave it.

    Raters are numbered by their pseudonyms, rows go by rater and by the key's order, and reasons name no row
    of a file: nothing tells when somebody answered. ``counts`` is 1 where the main analysis uses the answer.
    """
    raters = {name: f"rater-{n}" for n, name in enumerate(sorted({s.rater for s in ingested.submissions}), 1)}
    counted = collect(built, ingested.used).counted
    order = {block: place for place, block in enumerate(built.key.blocks)}
    submissions = sorted(ingested.submissions, key=lambda one: (one.rater, order[one.block], one.source))
    questions = [question.id for question in built.plan.questions]
    data = ", ".join(analysis.stamps) or "people"
    rows: list[_Cells] = []
    for submission in submissions:
        for item, given in given_items(built, submission):
            for question in questions:
                choice = given.answers.get(question)
                rows.append(
                    [
                        data,
                        raters[submission.rater],
                        item.role,
                        item.prompt,
                        item.sample,
                        question,
                        item.left,
                        item.right,
                        choice or "",
                        _chosen(item, choice),
                        int((submission.source, item.id, question) in counted),
                        "; ".join(map(reason_kind, submission.unused)),
                        given.milliseconds / 1000,
                    ]
                )
    return csv_text(RESPONSE_COLUMNS, rows)


def _chosen(item: ItemKey, choice: Choice | None) -> str:
    if choice is None or item.role == "gold":
        return ""
    return {"L": item.left, "R": item.right, "T": "tie"}[choice]


def _name(one: Outcome) -> str:
    return f"{one.question}: {one.first} over {one.second}"


def _csv_row(analysis: StudyAnalysis, one: Outcome) -> _Cells:
    share, everything = one.main.share, one.everything
    return [
        ", ".join(analysis.stamps) or "people",
        one.question,
        one.first,
        one.second,
        "yes" if one.question == analysis.primary else "",
        share.responses,
        one.wanted,
        share.raters,
        share.prompts,
        share.wins,
        share.ties,
        share.losses,
        *_numbers(quoted(one.main)),
        interval_kind(one.main),
        share.wilson.low,
        share.wilson.high,
        share.p_value,
        share.test,
        one.main.p_holm,
        one.preferred or "",
        *_numbers(one.main.side_adjusted),
        everything.share.responses,
        *_numbers(quoted(everything)),
        interval_kind(everything),
        *_numbers(one.side.wilson if one.side.clustered.absent else one.side.clustered),
        one.agreement.pairwise.value,
        one.agreement.alpha.value,
        one.agreement.ac1.value,
        one.consistency.repeats,
        one.consistency.same.value,
        one.seconds,
        *_paper_cells(paper_share(one.question) if analysis.paper else None),
    ]


def _paper_cells(paper: PaperShare | None) -> Iterator[str | float]:
    if paper is None:
        yield from [""] * 6
    else:
        yield from (PAPER_MODELS, paper.question, paper.answers, *_numbers(paper.share))


def _numbers(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high
