"""Results files of crowd platforms, read without trust: cells are written by raters.

Three shapes of Amazon Mechanical Turk are taken, which archived files have, and the one of Turkle:

* one column a field, ``Answer.answers_json``;
* objects flattened to columns, ``Answer.seen.yes`` = ``true``, or ``Answer.seen.label`` = ``yes``;
* one column ``Answer.taskAnswers`` with a JSON list of one object.

A file whose structure is in doubt is refused as a whole. What is wrong with one row is said of that row:
a rater must not be able to spoil the file for others.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

from vader_bench.errors import UserError
from vader_bench.human.ingest.strict_json import UnreadableError, strict_json

__all__ = [
    "MAX_BYTES", "MAX_CELL", "MAX_COLUMNS", "MAX_ROWS", "REVIEW", "ResultsFile", "Row", "moment",
    "parse_results", "read_results",
]  # fmt: skip

MAX_BYTES: Final = 64 * 2**20
MAX_ROWS: Final = 100_000
MAX_COLUMNS: Final = 1000
MAX_CELL: Final = 200_000
"""Characters; a block of forty pairs takes about 10,000."""
REVIEW: Final = ("Approve", "Reject")
"""The last columns of Mechanical Turk's files, for the requester to fill: rows end before them."""
_MAX_NAME: Final = 256
_TASK_ANSWERS: Final = "taskAnswers"
_PROLIFIC: Final = "prolific-"
_TIME: Final = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([A-Z]{3,4}) ([0-9]{4})"
)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ZONES: Final = {"PST": -8, "PDT": -7, "EST": -5, "EDT": -4, "UTC": 0, "GMT": 0}
"""Hours from UTC. Times of Mechanical Turk are Pacific ones, those of Turkle as its server is set."""
_REMEDY: Final = "give the results as the platform wrote them"


@dataclass(frozen=True)
class Row:
    """One assignment as the platform reports it."""

    number: int
    """From 1, the header and empty lines not counted."""
    cells: list[str]
    """As they stand in the file, with ``Approve`` and ``Reject``, which may be left out at the end."""
    assignment: str = ""
    account: str = ""
    """Who answered: to be kept out of everything that may be published."""
    platform: str = ""
    status: str = "Submitted"
    submitted: str = ""
    """Time as the platform wrote it; empty if it did not say, or said something that is no time."""
    accepted: str = ""
    input_block: str | None = None
    """Block that the platform showed; ``None`` if it did not say."""
    fields: dict[str, str] = field(default_factory=dict)
    """What the page sent, by name."""
    fault: str | None = None
    """Why the row cannot be read; the rest is then not to be relied on."""

    @property
    def work(self) -> tuple[str, str, str, str]:
        """Platform, assignment, account and block: what is paid once.

        The number of an assignment does not tell: two Turkle servers give the same ones.
        """
        return self.platform, self.assignment, self.account, self.fields.get("block_id", "")


@dataclass(frozen=True)
class ResultsFile:
    """A results file of sound structure."""

    name: str
    sha256: str
    header: list[str]
    rows: list[Row]


def read_results(path: Path) -> ResultsFile:
    """Return the results in the file ``path``.

    Raises:
        UserError: it cannot be read, or is what ``parse_results`` refuses.
    """
    if not path.is_file():
        raise UserError(str(path), "is no file", "give the path of a results file")
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(
            str(path), f"cannot be read ({error.strerror})", "give a file you may read"
        ) from error
    return parse_results(path.name, data)


def parse_results(name: str, data: bytes) -> ResultsFile:
    r"""Return the results in ``data``: comma-separated, UTF-8 with or without a mark, lines ended in any way.

    Args:
        name: name of the file, for messages.
        data: its bytes.

    Raises:
        UserError: it is too large, empty, not UTF-8, no CSV with commas, or lacks a column that is needed or
            has one twice.
    """
    if len(data) > MAX_BYTES:
        raise UserError(name, f"is larger than {MAX_BYTES // 2**20} MiB", "split it; give all parts")
    if not name.isprintable():
        raise UserError(ascii(name), "has a name that cannot be printed", "rename it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        remedy = f"{_REMEDY}; or save it as CSV UTF-8, comma-separated, if a spreadsheet has written it"
        raise UserError(name, f"is not UTF-8 text (byte {error.start})", remedy) from error
    first = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
    if "," not in first and any(mark in first for mark in ";\t|"):
        raise UserError(name, "is not separated by commas", _REMEDY)
    table = _table(name, text)
    header = next(table, None)
    if header is None:
        raise UserError(name, "is empty", _REMEDY)
    _check_header(name, header)
    rows = [_row(header, cells, number) for number, cells in enumerate(table, start=1)]
    return ResultsFile(name, hashlib.sha256(data).hexdigest(), header, rows)


def _table(name: str, text: str) -> Iterator[list[str]]:
    """Yield all lines that are not empty."""
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    count = 0
    with _long_cells():  # else one rater's long answer would end the reading of the file
        try:
            for cells in lines:
                if not cells:
                    continue
                if count > MAX_ROWS:
                    raise UserError(name, f"has more than {MAX_ROWS} rows", "split it; give all parts")
                count += 1
                yield cells
        except csv.Error as error:
            raise UserError(name, f"is no CSV file (line {lines.line_num}: {error})", _REMEDY) from error


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(MAX_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _check_header(name: str, header: list[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise UserError(name, f"has more than {MAX_COLUMNS} columns", _REMEDY)
    if len(set(header)) < len(header):
        twice = next(column for column in header if header.count(column) > 1)
        raise UserError(name, f"has the column {twice[:40]!a} twice", _REMEDY)
    lacking = [
        wanted
        for wanted, found in (
            ("AssignmentId", "AssignmentId" in header),
            ("WorkerId or Turkle.Username", bool({"WorkerId", "Turkle.Username"} & set(header))),
            ("Answer.…", any(column.startswith("Answer.") for column in header)),
        )
        if not found
    ]
    if lacking == ["Answer.…"]:
        remedy = "give it once somebody has answered"
        raise UserError(name, "has no column Answer.…: nobody has answered yet", remedy)
    if lacking:
        raise UserError(name, f"has no column {', '.join(lacking)}", _REMEDY)


def _row(header: list[str], cells: list[str], number: int) -> Row:
    if header[len(cells) :] == list(REVIEW):
        cells = [*cells, *("" for _ in REVIEW)]
    if len(cells) != len(header):
        return Row(number, cells, fault=f"it has {len(cells)} cells, the header {len(header)}")
    if any(len(cell) > MAX_CELL for cell in cells):
        return Row(number, cells, fault=f"a cell is longer than {MAX_CELL} characters")
    if any("\0" in cell for cell in cells):
        return Row(number, cells, fault="a cell holds a NUL character")
    values = dict(zip(header, cells, strict=True))
    account, platform = _account(values)
    assignment = values["AssignmentId"].strip()
    named = (("assignment", assignment), ("account", account))
    for what, value in named:
        if not value:
            return Row(number, cells, fault=f"it names no {what}")
        if len(value) > _MAX_NAME or not value.isprintable():
            return Row(number, cells, fault=f"its {what} is no name that a platform gives")
    times = [_time(values.get(column, "").strip()) for column in ("SubmitTime", "AcceptTime")]
    try:
        fields, fault = _fields(values), None
    except UnreadableError as error:
        fields, fault = {}, str(error)
    return Row(
        number=number,
        cells=cells,
        assignment=assignment,
        account=account,
        platform=platform,
        status=values.get("AssignmentStatus", "").strip() or "Submitted",
        submitted=times[0],
        accepted=times[1],
        input_block=values.get("Input.block_id"),
        fields=fields,
        fault=fault,
    )


def _time(text: str) -> str:
    """Return ``text`` if it is a time of whatever zone; nothing else is kept with the answers."""
    return text if _TIME.fullmatch(text) or moment(text) is not None else ""


def _account(values: dict[str, str]) -> tuple[str, str]:
    """Return the account and its platform; Turkle's WorkerId is a number of its own data base."""
    if "Turkle.Username" not in values:
        return values["WorkerId"].strip(), "mturk"
    user = values["Turkle.Username"].strip()
    if user.startswith(_PROLIFIC):
        return user.removeprefix(_PROLIFIC), "prolific"
    return user, "turkle"


def _fields(values: dict[str, str]) -> dict[str, str]:
    """Return the fields of the page, whatever the shape.

    Raises:
        UnreadableError: the answers are no list of one object, or say a field twice with different values.
    """
    columns = {
        column.removeprefix("Answer."): value
        for column, value in values.items()
        if column.startswith("Answer.")
    }
    tasks = columns.pop(_TASK_ANSWERS, "")
    found = _unflattened(columns)
    for name, value in _of_tasks(tasks).items() if tasks else ():
        if found.setdefault(name, value) != value:
            raise UnreadableError("it gives a field twice, in Answer.taskAnswers and in a column of its own")
    return found


def _of_tasks(text: str) -> dict[str, str]:
    try:
        tasks = strict_json(text)
    except UnreadableError as error:
        raise UnreadableError(f"Answer.taskAnswers {error}") from None
    if not (isinstance(tasks, list) and len(tasks) == 1 and isinstance(tasks[0], dict)):
        raise UnreadableError("Answer.taskAnswers is not a list of one object")
    found = {name: _value(value) for name, value in tasks[0].items()}
    return {name: value for name, value in found.items() if value is not None}


def _unflattened(columns: dict[str, str]) -> dict[str, str]:
    """Return plain columns as they are, and those of one object joined again; an empty cell says nothing."""
    plain = {name: value for name, value in columns.items() if "." not in name and value}
    objects: dict[str, dict[str, Any]] = {}
    for name, value in columns.items():
        outer, dot, inner = name.partition(".")
        if dot and value:
            switch = {"true": True, "false": False}.get(value.lower(), value)
            objects.setdefault(outer, {})[inner] = switch
    for name, options in objects.items():
        chosen = _value(options)
        if chosen is not None and plain.setdefault(name, chosen) != chosen:
            raise UnreadableError("it gives a field twice, as one column and as several")
    return plain


def _value(value: Any) -> str | None:
    """Return text as it is, and of an object its ``label`` or the one option that is true; else nothing."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("label"), str):
        return str(value["label"])
    chosen = [name for name, switch in value.items() if switch is True]
    return chosen[0] if len(chosen) == 1 else None


def moment(text: str) -> float | None:
    """Return a platform's time in seconds since 1970 (UTC); ``None`` if it cannot be read.

    Args:
        text: as ``Wed Nov 20 21:03:26 PST 2019``, or ISO 8601 with a zone.
    """
    try:
        if (found := _TIME.fullmatch(text)) is None:
            time = datetime.fromisoformat(text)
        else:
            month, day, hour, minute, second, zone, year = found.groups()
            if month not in _MONTHS or zone not in _ZONES:
                return None
            days, hours, minutes, seconds = map(int, (day, hour, minute, second))
            offset = timezone(timedelta(hours=_ZONES[zone]))
            place = _MONTHS.index(month) + 1
            time = datetime(int(year), place, days, hours, minutes, seconds, tzinfo=offset)
        return None if time.tzinfo is None else (time - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    except ValueError:
        return None
