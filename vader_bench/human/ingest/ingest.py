"""From results files to the answers of a study, by pseudonym; what is in doubt is refused with a reason."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.human.ingest.exclusion import blind_view, judge
from vader_bench.human.ingest.page import read_answers
from vader_bench.human.ingest.results_file import ResultsFile, Row, moment
from vader_bench.human.ingest.review import review_file
from vader_bench.human.ingest.strict_json import UnreadableError
from vader_bench.human.plan import Built
from vader_bench.human.responses import RESPONSES, SIMULATED, Ingested, Refusal, Source, Submission
from vader_bench.report.tables import csv_text

__all__ = [
    "PRIVATE",
    "REFUSED",
    "SALT",
    "IngestResult",
    "ingest",
    "load_salt",
    "pseudonym",
    "write_outcome",
]

SALT: Final = "key/salt"
"""What pseudonyms are keyed with: whoever has it can find a known account among them."""
REFUSED: Final = "responses/refused.csv"
PRIVATE: Final = "private"
"""Folder of what names accounts: readable by its owner only, and never to be published."""
_SALT_BYTES: Final = 32
_REVIEW: Final = "review-"
"""What the names of the requester's files begin with."""
_STATUSES: Final = ("Submitted", "Approved", "Rejected")


@dataclass(frozen=True)
class IngestResult:
    """What the results files of a study give."""

    ingested: Ingested
    reviews: Mapping[str, str]
    """Text of the requester's files by their names. They name accounts."""


def load_salt(folder: Path) -> bytes:
    """Return the salt of the study in ``folder``, made at random the first time.

    Raises:
        UserError: the file is broken.
    """
    path = folder / SALT
    if not path.exists():
        files.make_private_folder(path.parent)
        files.write_private(path, secrets.token_hex(_SALT_BYTES) + "\n")
    path.chmod(0o600)
    text = files.read_text(path).strip()
    if len(text) != 2 * _SALT_BYTES or not set(text) <= set("0123456789abcdef"):
        remedy = "restore the file; or delete it to give every rater a new pseudonym"
        raise UserError(str(path), "is no salt", remedy)
    return bytes.fromhex(text)


def pseudonym(salt: bytes, platform: str, account: str) -> str:
    """Return 16 hexadecimal digits of HMAC-SHA256 over platform and account, the same whenever asked."""
    text = f"{platform}\x1f{account}"
    return hmac.new(salt, text.encode(), hashlib.sha256).hexdigest()[:16]


def ingest(built: Built, results: Sequence[ResultsFile], salt: bytes) -> IngestResult:
    """Return what ``results``, all files of the study, say.

    A row is a whole answer to one block of the study or refused. An assignment that is reported twice, in one
    file or in two, counts once, as it stands first. The order of submission is that of the platforms' times;
    rows whose time cannot be read come last, in the order of the files.

    Raises:
        UserError: two files have one name.
    """
    _check_names(results)
    rows = [row for table in results for row in table.rows]
    read, refused = _read(built, results, salt)
    ordered = dict(sorted(read.items(), key=lambda pair: _when(pair[1])))
    rejected = {(row.platform, row.assignment) for row in rows if row.status == "Rejected"}
    judged = judge(
        list(ordered.values()),
        blind_view(built.key),
        built.plan,
        {one.source for assignment, one in ordered.items() if assignment in rejected},
    )
    by_source = {one.source: one.unpaid for one in judged}
    unpaid = {
        row.work: by_source[source]
        for table in results
        for row in table.rows
        if (source := _source(table, row)) in by_source
    }
    found = Ingested(
        study=built.key.study,
        plan_sha256=built.plan.digest,
        simulated=any(row.account.startswith(SIMULATED) for row in rows),
        sources=[Source(name=table.name, sha256=table.sha256, rows=len(table.rows)) for table in results],
        submissions=judged,
        refused=refused,
    )
    return IngestResult(found, {_review_name(table): review_file(table, unpaid) for table in results})


def write_outcome(folder: Path, outcome: IngestResult) -> list[Path]:
    """Write the requester's files, the refusals and the answers of a study in place of those before.

    Returns:
        what was written, the answers last.

    Raises:
        UserError: the disk refuses.
    """
    files.make_private_folder(folder / PRIVATE)
    _forget_reviews(folder / PRIVATE, set(outcome.reviews))
    written = [folder / PRIVATE / name for name in outcome.reviews]
    for path, text in zip(written, outcome.reviews.values(), strict=True):
        files.write_private(path, text)
    refused = [(one.source, one.reason) for one in outcome.ingested.refused]
    files.write_text(folder / REFUSED, csv_text(["source", "reason"], refused))
    files.write_json(folder / RESPONSES, outcome.ingested.model_dump(mode="json"))
    return [*written, folder / REFUSED, folder / RESPONSES]


def _forget_reviews(private: Path, kept: Set[str]) -> None:
    """Delete review files of results that are no longer given: they name accounts, and no longer hold."""
    for path in private.glob(f"{_REVIEW}*.csv"):
        if path.name not in kept:
            try:
                path.unlink()
            except OSError as error:
                wrong = f"cannot be deleted ({error.strerror})"
                raise UserError(str(path), wrong, "delete it: it is of results that are not given") from error


def _read(
    built: Built, results: Sequence[ResultsFile], salt: bytes
) -> tuple[dict[tuple[str, str], Submission], list[Refusal]]:
    """Return the whole answers by platform and assignment, and why the other rows are none."""
    read: dict[tuple[str, str], Submission] = {}
    refused: list[Refusal] = []
    for table in results:
        for row in table.rows:
            source = _source(table, row)
            try:
                one = _submission(built, row, source, salt)
            except UnreadableError as error:
                refused.append(Refusal(source=source, reason=str(error)))
                continue
            before = read.setdefault((row.platform, row.assignment), one)
            if before is not one:
                refused.append(Refusal(source=source, reason=_told_before(before, one)))
    return read, refused


def _submission(built: Built, row: Row, source: str, salt: bytes) -> Submission:
    """Return the answer in ``row``.

    Raises:
        UnreadableError: why it is none. No cell is quoted: it may hold an account's name.
    """
    if row.fault is not None:
        raise UnreadableError(row.fault)
    if row.status not in _STATUSES:
        raise UnreadableError("its status says that it was not handed in")
    block = row.fields.get("block_id", "")
    if not block:
        raise UnreadableError("it does not say which block it answers")
    if row.input_block is not None and row.input_block != block:
        raise UnreadableError("it answers another block than the platform showed")
    if block not in built.key.blocks:
        raise UnreadableError("it answers a block that is not of this study")
    ids = [item.id for item in built.key.blocks[block]]
    answers = read_answers(row.fields.get("answers_json", ""), built.plan, ids)
    return Submission(
        rater=pseudonym(salt, row.platform, row.account),
        block=block,
        source=source,
        platform=row.platform,
        submitted=row.submitted,
        consent=answers.consent,
        screen=answers.screen,
        items=answers.items,
    )


def _source(table: ResultsFile, row: Row) -> str:
    return f"{table.name}:{row.number}"


def _told_before(before: Submission, now: Submission) -> str:
    same = (before.rater, before.block, before.items) == (now.rater, now.block, now.items)
    return (
        f"the same assignment was reported before ({before.source}){'' if same else ', with other content'}"
    )


def _when(submission: Submission) -> float:
    time = moment(submission.submitted)
    return math.inf if time is None else time


def _check_names(results: Sequence[ResultsFile]) -> None:
    names = [_review_name(table) for table in results]
    for table, name in zip(results, names, strict=True):
        if names.count(name) > 1:
            raise UserError(
                table.name, "is the name of two files", "rename one: answers are reported by file and row"
            )


def _review_name(table: ResultsFile) -> str:
    return f"{_REVIEW}{PurePath(table.name).stem}.csv"
