"""A study answered by simulated raters, as the file that a platform would give out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.human.plan import Built, ItemKey, VideoPlan
from vader_bench.human.rehearsal.raters import Manner, Raters
from vader_bench.human.responses import Choice, Consent, ItemAnswers, Submission, simulated_account
from vader_bench.seeding import numpy_stream

__all__ = ["COLUMNS", "results_csv", "simulate", "write_simulated"]

COLUMNS: Final = (
    "HITId", "HITTypeId", "Title", "CreationTime", "MaxAssignments", "AssignmentDurationInSeconds",
    "AssignmentId", "WorkerId", "AcceptTime", "SubmitTime", "WorkTimeInSeconds", "Input.block_id",
    "Answer.answers_json", "Answer.block_id", "Turkle.Username",
)  # fmt: skip
"""Header of Turkle's results, but for the column with the page's data, which nothing reads again."""
PLATFORM: Final = "turkle"
BEGAN: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""No time of today: the same study and seed give the same file."""
TIME: Final = "%a %b %d %H:%M:%S UTC %Y"
SCREEN: Final = [1280, 800]
DOES_NOT_PLAY: Final = 4
"""A browser's code for a video that it cannot decode (MEDIA_ERR_SRC_NOT_SUPPORTED)."""


def simulate(built: Built, raters: Raters, people: int) -> list[Submission]:
    """Return one answer to every block, blocks dealt to ``people`` in turn, in the order of time.

    The rater of a submission is an account, ``SIMULATED-1`` and so on, and no pseudonym yet.

    Raises:
        UserError: too few people for the blocks that each may answer, or ties where there is no such choice.
    """
    blocks, most = built.key.blocks, built.plan.blocks.per_rater
    if people < (fewest := built.plan.blocks.fewest_people(len(blocks))):
        wrong = f"are too few for {len(blocks)} blocks, as each may answer {most}"
        raise UserError(f"{people} raters", wrong, f"take at least {fewest}")
    if raters.ties and not built.plan.ties:
        raise UserError(f"ties {raters.ties}", "are no choice in this study", "leave them at 0")
    found = []
    for number, (block, items) in enumerate(blocks.items()):
        turn, person = divmod(number, people)
        account = simulated_account(person + 1)
        accepted = BEGAN + timedelta(hours=turn, seconds=10 * person)
        answered = list(_answered(built, raters, account, block, items))
        found.append(
            Submission(
                rater=account,
                block=block,
                source=f"simulated:{number + 1}",
                platform=PLATFORM,
                submitted=f"{accepted + _worked(answered):{TIME}}",
                consent=Consent(
                    version=built.plan.consent.version, at=accepted.isoformat().replace("+00:00", "Z")
                ),
                screen=SCREEN,
                items=answered,
            )
        )
    return found


def results_csv(built: Built, submissions: Sequence[Submission]) -> str:
    """Return simulated ``submissions`` in the format in which Turkle gives out results."""
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    for number, submission in enumerate(submissions, 1):
        worked = _worked(submission.items)
        accepted = datetime.strptime(submission.submitted, TIME).replace(tzinfo=UTC) - worked
        written = {
            "HITId": str(number),
            "HITTypeId": "1",
            "Title": built.plan.title,
            "CreationTime": f"{BEGAN:{TIME}}",
            "MaxAssignments": "1",
            "AssignmentDurationInSeconds": "86400",
            "AssignmentId": str(number),
            "WorkerId": submission.rater.rpartition("-")[2],
            "AcceptTime": f"{accepted:{TIME}}",
            "SubmitTime": submission.submitted,
            "WorkTimeInSeconds": str(round(worked.total_seconds())),
            "Input.block_id": submission.block,
            "Answer.answers_json": json.dumps(_page_answer(built.plan.video, submission)),
            "Answer.block_id": submission.block,
            "Turkle.Username": submission.rater,
        }
        writer.writerow(written)
    return table.getvalue()


def write_simulated(path: Path, built: Built, raters: Raters, people: int) -> int:
    """Write the answers of ``people`` simulated raters to ``path`` and return how many blocks they are.

    Raises:
        UserError: see ``simulate``; or the disk refuses.
    """
    submissions = simulate(built, raters, people)
    files.write_text(path, results_csv(built, submissions))
    return len(submissions)


def _answered(
    built: Built, raters: Raters, account: str, block: str, items: Sequence[ItemKey]
) -> Iterator[ItemAnswers]:
    stream = numpy_stream(raters.seed, "raters", "watching", account, block)
    manner = raters.manner(account)
    for item in items:
        answers = raters.decide(account, block, item)
        yield _watched(built, stream, item.id, answers, manner)


def _watched(
    built: Built,
    stream: np.random.Generator,
    item: str,
    answers: Mapping[str, Choice | None],
    manner: Manner,
) -> ItemAnswers:
    """Return ``answers`` with what the page measures while they are given."""
    broken = all(answer is None for answer in answers.values())
    least = built.plan.video.seconds
    spare = max(built.plan.pay.seconds_per_item - least, 1.0)
    careful = manner == "careful"
    seconds = least + spare * float(stream.lognormal(0, 0.4)) if careful else float(stream.uniform(0.5, 2.0))
    ended, share = (1, 1.0) if careful else (0, round(float(stream.uniform(0, 0.3)), 3))
    return ItemAnswers(
        id=item,
        answers=dict(answers),
        ended=[0, ended] if broken else [ended, ended],
        watched=[0.0, share] if broken else [share, share],
        errors=[DOES_NOT_PLAY, 0] if broken else [0, 0],
        blurs=0,
        problem=broken,
        milliseconds=round(1000 * seconds),
    )


def _worked(items: Sequence[ItemAnswers]) -> timedelta:
    """Return the time from the first pair to the last, in whole seconds as a platform tells it."""
    return timedelta(seconds=round(sum(item.milliseconds for item in items) / 1000))


def _page_answer(video: VideoPlan, submission: Submission) -> dict[str, Any]:
    """Return what the page writes into its field ``answers_json``."""
    playing = [video.width, video.height, video.seconds]
    return {
        "v": 1,
        "consent": submission.consent.model_dump(),
        "screen": submission.screen,
        "items": [
            {
                "id": item.id,
                "a": item.answers,
                "ended": item.ended,
                "frac": item.watched,
                "err": item.errors,
                "dims": [[0, 0, 0] if error else playing for error in item.errors],
                "blur": item.blurs,
                "problem": int(item.problem),
                "ms": item.milliseconds,
            }
            for item in submission.items
        ],
    }
