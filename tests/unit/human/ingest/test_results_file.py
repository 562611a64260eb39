"""Results files, whole ones and others."""

from __future__ import annotations

import csv
import io
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.answers import SHAPES, Sheet, results_file
from vader_bench.errors import UserError
from vader_bench.human.ingest import results_file as module
from vader_bench.human.ingest.results_file import (
    MAX_BYTES,
    ResultsFile,
    Row,
    moment,
    parse_results,
    read_results,
)

SHEETS = [Sheet("b1", "A1", "31", '{"v":1,"name":"Zoë"}'), Sheet("b2", "A2", "32", "{}")]


def table(header: str, *rows: str) -> ResultsFile:
    return parse_results("r.csv", "\n".join([header, *rows]).encode())


def row(header: str, cells: str) -> Row:
    return table(f"AssignmentId,WorkerId,{header}", f"1,A,{cells}").rows[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_all_shapes_give_the_same_fields(shape: str) -> None:
    found = parse_results("r.csv", results_file(shape, SHEETS))
    for number, (one, sheet) in enumerate(zip(found.rows, SHEETS, strict=True), start=1):
        assert one.fault is None
        assert one.number == number
        assert one.fields["block_id"] == one.input_block == sheet.block
        assert one.fields["answers_json"] == sheet.text
        assert (one.assignment, one.account, one.status) == (sheet.assignment, sheet.account, "Submitted")
        assert (one.submitted, one.accepted) == (sheet.submitted, "Wed Nov 25 03:59:00 PST 2026")
        assert one.platform == ("turkle" if shape == "turkle" else "mturk")
        assert one.fields.get("seen") == ("yes" if shape in {"flat", "tasks"} else None)


def test_marks_and_line_ends_do_not_matter() -> None:
    plain = results_file("plain", SHEETS)
    rows = parse_results("r.csv", plain).rows
    for data in (
        b"\xef\xbb\xbf" + plain,
        results_file("plain", SHEETS, "\r\n"),
        results_file("plain", SHEETS, "\r"),
        plain.replace(b"\n", b"\n\n\r\n"),
        plain.rstrip(),
    ):
        assert parse_results("r.csv", data).rows == rows


def test_accounts_of_prolific_are_distinguished_from_others() -> None:
    sheets = [Sheet("b", "prolific-5f3a", "1", "{}"), Sheet("b", "anna", "2", "{}")]
    found = parse_results("r.csv", results_file("turkle", sheets)).rows
    assert [(one.platform, one.account) for one in found] == [("prolific", "5f3a"), ("turkle", "anna")]
    (other, _) = parse_results("r.csv", results_file("plain", sheets)).rows
    assert (other.platform, other.account) == ("mturk", "prolific-5f3a")


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (b"", "is empty"),
        (b"\n\r\n", "is empty"),
        (b"\xff\xfeA\0", r"is not UTF-8 text \(byte 0\)"),
        (b"\x89PNG\r\n\x1a\n", "is not UTF-8"),
        (b"PK\x03\x04", "has no column AssignmentId, WorkerId or Turkle.Username, Answer"),
        (b"AssignmentId,Answer.x", "has no column WorkerId or Turkle.Username;"),
        (b"AssignmentId;WorkerId;Answer.x", "is not separated by commas"),
        (b"AssignmentId\tWorkerId\tAnswer.x", "is not separated by commas"),
        (b'"AssignmentId";"WorkerId";"Answer.x"\n"1";"A";"{1,2}"\n', "is not separated by commas"),
        (b'"AssignmentId"\t"WorkerId"\t"Answer.x"\r"1"\t"A"\t"x"\r', "is not separated by commas"),
        ("AssignmentId,WorkerId,Answer.x\n1,A,é".encode("latin-1"), "or save it as CSV UTF-8"),
        (b"AssignmentId,WorkerId,Input.block_id\n", "nobody has answered yet; give it once somebody has"),
        (b"AssignmentId,WorkerId,Answer.x,Answer.x", "has the column 'Answer.x' twice"),
        (b'AssignmentId,WorkerId,Answer.x\n"1"2,A,x', r"is no CSV file \(line 2"),
        (b'AssignmentId,WorkerId,Answer.x\n1,A,"x', r"is no CSV file \(line 2"),
        (b"a," * 1001, "has more than 1000 columns"),
        (b" " * (MAX_BYTES + 1), "is larger than 64 MiB"),
    ],
)
def test_a_file_in_doubt_is_refused_whole(data: bytes, wrong: str) -> None:
    with pytest.raises(UserError, match=wrong) as caught:
        parse_results("r.csv", data)
    assert caught.value.given == "r.csv"


def test_rows_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 2)
    header = "AssignmentId,WorkerId,Answer.x"
    assert len(table(header, "1,A,x", "2,A,x").rows) == 2
    with pytest.raises(UserError, match="more than 2 rows"):
        table(header, "1,A,x", "2,A,x", "3,A,x")


def test_a_bad_row_leaves_the_others_alone() -> None:
    found = table(
        "AssignmentId,WorkerId,Answer.x",
        *("1,A,x", "2,A", "3,A,x,y", "4,A,\0", f"5,A,{'x' * 200_001}", ",A,x", "7, ,x", "8,a\x07,x", "9,A,x"),
    ).rows
    assert [one.number for one in found if one.fault is None] == [1, 9]
    assert [str(one.fault) for one in found[1:-1]] == [
        "it has 2 cells, the header 3",
        "it has 4 cells, the header 3",
        "a cell holds a NUL character",
        "a cell is longer than 200000 characters",
        "it names no assignment",
        "it names no account",
        "its account is no name that a platform gives",
    ]


def test_rows_may_end_before_the_requesters_columns() -> None:
    header = "AssignmentId,WorkerId,Answer.x,Approve,Reject"
    short, filled, cut = table(header, "1,A,x", "2,A,x,,bad", "3,A,x,x").rows
    assert (short.fault, short.cells) == (None, ["1", "A", "x", "", ""])
    assert (filled.fault, filled.cells) == (None, ["2", "A", "x", "", "bad"])
    assert cut.fault == "it has 4 cells, the header 5"


def test_a_long_cell_does_not_change_what_others_may_read() -> None:
    before = csv.field_size_limit()
    table("AssignmentId,WorkerId,Answer.x", f"1,A,{'x' * 200_001}")
    with pytest.raises(UserError):
        table("AssignmentId,WorkerId,Answer.x", '1,A,"')
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("header", "cells", "fields"),
    [
        ("Answer.q.A,Answer.q.B", "true,false", {"q": "A"}),
        ("Answer.q.A,Answer.q.B", "FALSE,TRUE", {"q": "B"}),
        ("Answer.q.A,Answer.q.B", "true,true", {}),
        ("Answer.q.A,Answer.q.B", "false,", {}),
        ("Answer.q.label", "cat", {"q": "cat"}),
        ("Answer.q.A.b", "true", {"q": "A.b"}),
        ("Answer.q,Answer.q.A", "A,true", {"q": "A"}),
        ("Answer.q,Answer.r", ",x", {"r": "x"}),
        (
            "Answer.taskAnswers",
            '"[{""q"":{""A"":true,""B"":false},""r"":""x"",""s"":3}]"',
            {"q": "A", "r": "x"},
        ),
        ("Answer.taskAnswers", '"[{""q"":{""label"":""cat""}}]"', {"q": "cat"}),
        ("Answer.taskAnswers,Answer.q", ",x", {"q": "x"}),
        ("Answer.taskAnswers,Answer.q", '"[{""q"":""x""}]",x', {"q": "x"}),
    ],
)
def test_answers_are_put_together(header: str, cells: str, fields: dict[str, str]) -> None:
    found = row(header, cells)
    assert found.fault is None
    assert found.fields == fields


@pytest.mark.parametrize(
    ("header", "cells", "fault"),
    [
        ("Answer.q,Answer.q.A", "B,true", "it gives a field twice, as one column and as several"),
        (
            "Answer.taskAnswers,Answer.q",
            '"[{""q"":""x""}]",y',
            "it gives a field twice, in Answer.taskAnswers",
        ),
        ("Answer.taskAnswers", "[]", "Answer.taskAnswers is not a list of one object"),
        ("Answer.taskAnswers", '"[{},{}]"', "Answer.taskAnswers is not a list of one object"),
        ("Answer.taskAnswers", "{}", "Answer.taskAnswers is not a list of one object"),
        ("Answer.taskAnswers", "[{", "Answer.taskAnswers is not JSON"),
        ("Answer.taskAnswers", '"[{""q"":1,""q"":2}]"', "Answer.taskAnswers names a key twice"),
    ],
)
def test_answers_that_contradict_themselves_are_a_fault(header: str, cells: str, fault: str) -> None:
    found = row(header, cells)
    assert str(found.fault).startswith(fault)
    assert found.fields == {}


def test_status_and_times_are_as_the_platform_says() -> None:
    header = "AssignmentStatus,SubmitTime,Answer.x"
    assert row(header, "Approved,2026-11-25T12:00:00+01:00,x").status == "Approved"
    assert row(header, " ,Fri Nov 27 10:00:00 CET 2026,x").status == "Submitted"
    assert row(header, ",Fri Nov 27 10:00:00 CET 2026,x").submitted == "Fri Nov 27 10:00:00 CET 2026"
    assert row(header, ",someone@example.org,x").submitted == ""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Wed Nov 20 21:03:26 PST 2019", datetime(2019, 11, 21, 5, 3, 26, tzinfo=UTC)),
        ("Sat Jul 4 21:03:26 PDT 2020", datetime(2020, 7, 5, 4, 3, 26, tzinfo=UTC)),
        ("Wed Nov 25 04:10:00 UTC 2026", datetime(2026, 11, 25, 4, 10, tzinfo=UTC)),
        ("2026-11-25T04:10:00-08:00", datetime(2026, 11, 25, 12, 10, tzinfo=UTC)),
        ("2026-11-25T04:10:00Z", datetime(2026, 11, 25, 4, 10, tzinfo=UTC)),
    ],
)
def test_times_are_read(text: str, wanted: datetime) -> None:
    assert moment(text) == wanted.timestamp()


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2026-11-25T04:10:00", "Wed Nov 31 04:10:00 PST 2026", "Wed Nov 25 24:10:00 PST 2026"),
        *("Wed Nov 25 04:10:00 XYZ 2026", "Wed Foo 25 04:10:00 PST 2026", "Wed Nov 25 04:10:00 PST 0000"),
    ],
)
def test_no_time_is_guessed(text: str) -> None:
    assert moment(text) is None


def test_a_file_is_read_from_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(results_file("plain", SHEETS))
    assert read_results(path) == parse_results("r.csv", path.read_bytes())
    header, *lines = csv.reader(io.StringIO(path.read_text("utf-8")))
    assert read_results(path).header == header
    assert [one.cells for one in read_results(path).rows] == [[*line, "", ""] for line in lines]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "none", tmp_path / "pipe"):
        with pytest.raises(UserError, match="is no file"):
            read_results(path)
    with pytest.raises(UserError, match="cannot be printed"):
        parse_results("a\nb.csv", b"")
