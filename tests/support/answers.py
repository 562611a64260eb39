"""Answers to a built study as raters' pages and platforms would give them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vader_bench.human.plan import Built, ItemKey

__all__ = ["SHAPES", "Sheet", "first_arm", "perfect", "results_file", "sheets_of"]

SHAPES = ("plain", "flat", "tasks", "turkle")
"""Mechanical Turk's three shapes of an answer, and Turkle's file."""

Choose = Callable[[ItemKey, str], Literal["L", "R", "T"]]

_MTURK = (
    "HITId,HITTypeId,Title,Description,Keywords,Reward,CreationTime,MaxAssignments,RequesterAnnotation,"
    "AssignmentDurationInSeconds,AutoApprovalDelayInSeconds,Expiration,NumberOfSimilarHITs,LifetimeInSeconds,"
    "AssignmentId,WorkerId,AssignmentStatus,AcceptTime,SubmitTime,AutoApprovalTime,ApprovalTime,"
    "RejectionTime,RequesterFeedback,WorkTimeInSeconds,LifetimeApprovalRate,Last30DaysApprovalRate,"
    "Last7DaysApprovalRate"
)
_TURKLE = (
    "HITId,HITTypeId,Title,CreationTime,MaxAssignments,AssignmentDurationInSeconds,AssignmentId,WorkerId,"
    "AcceptTime,SubmitTime,WorkTimeInSeconds"
)


def first_arm(item: ItemKey, question: str) -> Literal["L", "R"]:
    """Return the side of the right answer, or of the arm whose name comes first."""
    return item.right_answer or ("L" if item.left < item.right else "R")


def perfect(built: Built, block: str, choose: Choose = first_arm) -> dict[str, Any]:
    """Return what the page sends in ``answers_json`` for a block watched and answered whole."""
    width, height = built.plan.video.width, built.plan.video.height
    return {
        "v": 1,
        "consent": {"version": built.plan.consent.version, "at": "2026-11-25T12:00:00.000Z"},
        "screen": [1280, 720],
        "items": [
            {
                "id": item.id,
                "a": {question.id: choose(item, question.id) for question in built.plan.questions},
                "ended": [1, 2],
                "frac": [1, 0.998],
                "err": [0, 0],
                "dims": [[width, height, built.plan.video.seconds]] * 2,
                "blur": 0,
                "problem": 0,
                "ms": 9000 + 10 * place,
            }
            for place, item in enumerate(built.key.blocks[block])
        ],
    }


@dataclass(frozen=True)
class Sheet:
    """One block as one account sent it."""

    block: str
    account: str
    assignment: str
    answers: Mapping[str, Any] | str
    """As an object, or as the text of the field."""
    submitted: str = "Wed Nov 25 04:10:00 PST 2026"
    status: str = "Submitted"
    """Not told by Turkle."""

    @property
    def text(self) -> str:
        """Return the field as the page sends it."""
        return self.answers if isinstance(self.answers, str) else json.dumps(self.answers)


def sheets_of(built: Built, choose: Choose = first_arm, raters: int | None = None) -> list[Sheet]:
    """Return one perfect answer to every block; accounts take turns, each at most ``per_rater`` blocks."""
    blocks = list(built.key.blocks)
    people = raters or -(-len(blocks) // built.plan.blocks.per_rater)
    return [
        Sheet(
            block,
            f"A{number % people:05d}",
            f"3{number:06d}",
            perfect(built, block, choose),
            f"Wed Nov 25 04:{number % 60:02d}:00 PST 2026",
        )
        for number, block in enumerate(blocks)
    ]


def results_file(shape: str, sheets: Sequence[Sheet], line_end: str = "\n") -> bytes:
    """Return ``sheets`` as the results file of a platform: one of ``SHAPES``."""
    rows = [_row(shape, sheet) for sheet in sheets]
    standard = (_TURKLE if shape == "turkle" else _MTURK).split(",")
    answers = ["Answer.taskAnswers"] if shape == "tasks" else ["Answer.answers_json", "Answer.block_id"]
    answers += ["Answer.seen.no", "Answer.seen.yes"] if shape == "flat" else []
    last = ["Turkle.Username"] if shape == "turkle" else ["Approve", "Reject"]
    table = io.StringIO()
    header = [*standard, "Input.block_id", "Input.block_json", *answers, *last]
    writer = csv.writer(table, quoting=csv.QUOTE_ALL, lineterminator=line_end)
    writer.writerow(header)
    filled = header if shape == "turkle" else header[:-2]  # a requester fills in the last two
    writer.writerows([row.get(column, "") for column in filled] for row in rows)
    return table.getvalue().encode()


def _row(shape: str, sheet: Sheet) -> dict[str, str]:
    row = {
        "HITId": f"H{sheet.assignment}",
        "HITTypeId": "T1",
        "Title": "Compare, carefully, short videos",
        "AssignmentId": sheet.assignment,
        "WorkerId": sheet.account,
        "AcceptTime": "Wed Nov 25 03:59:00 PST 2026",
        "SubmitTime": sheet.submitted,
        "WorkTimeInSeconds": "600",
        "Input.block_id": sheet.block,
        "Input.block_json": '{"questions":[]}',
    }
    if shape == "tasks":
        fields = [{"answers_json": sheet.text, "block_id": sheet.block, "seen": {"no": False, "yes": True}}]
        return row | {"AssignmentStatus": sheet.status, "Answer.taskAnswers": json.dumps(fields)}
    row |= {"Answer.answers_json": sheet.text, "Answer.block_id": sheet.block}
    if shape == "turkle":
        return row | {"WorkerId": "7", "Turkle.Username": sheet.account}
    if shape == "flat":
        row |= {"Answer.seen.no": "false", "Answer.seen.yes": "true"}
    return row | {"AssignmentStatus": sheet.status, "Reward": "$0.60"}
