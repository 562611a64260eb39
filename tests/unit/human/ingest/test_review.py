"""The requester's file."""

from __future__ import annotations

import csv
import io

import pytest

from tests.support.answers import Sheet, results_file
from vader_bench.human.ingest.results_file import parse_results
from vader_bench.human.ingest.review import review_file
from vader_bench.report.tables import safe_cell

SHEETS = [Sheet("b", f"A{number}", str(number), f"=answer{number}") for number in range(4)]
UNPAID = {("mturk", "0", "A0", "b"): [], ("mturk", "1", "A1", "b"): ["sent before", "nothing done"]}


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def verdict(row: dict[str, str]) -> tuple[str, str]:
    return row["Approve"], row["Reject"]


def test_accepted_rows_are_approved_unpaid_ones_rejected_and_others_left_to_a_person() -> None:
    table = parse_results("r.csv", results_file("plain", SHEETS))
    found = rows(review_file(table, UNPAID))
    assert [verdict(row) for row in found] == [
        ("x", ""),
        ("", "sent before; nothing done"),
        ("", ""),
        ("", ""),
    ]


def test_the_platforms_cells_stay_and_answers_are_no_formulas() -> None:
    data = results_file("plain", SHEETS)
    found = rows(review_file(parse_results("r.csv", data), UNPAID))
    for new, old in zip(found, rows(data.decode()), strict=True):
        assert list(new) == list(old)
        assert new["Answer.answers_json"] == "'" + old["Answer.answers_json"]
        same = set(old) - {"Answer.answers_json", "Approve", "Reject"}
        assert all(new[column] == old[column] for column in same)


def test_turkle_lacks_the_columns_and_gets_them() -> None:
    table = parse_results("r.csv", results_file("turkle", SHEETS))
    found = rows(review_file(table, {("turkle", "2", "A2", "b"): []}))
    assert [verdict(row) for row in found] == [("", ""), ("", ""), ("x", ""), ("", "")]


def test_what_the_platform_or_a_person_decided_stays() -> None:
    decided = [Sheet("b", "A", "0", "", status="Approved"), Sheet("b", "A", "1", "", status="Rejected")]
    data = results_file("plain", [*decided, *SHEETS[2:]])
    line = next(line for line in data.splitlines() if line.startswith(b'"H2"'))
    filled = line + b',"","by hand"'
    table = parse_results("r.csv", data.replace(line, filled))
    found = rows(review_file(table, {row.work: [] for row in table.rows}))
    assert [verdict(row) for row in found] == [("", ""), ("", ""), ("", "by hand"), ("x", "")]


def test_a_row_of_another_length_is_kept_without_a_verdict() -> None:
    table = parse_results("r.csv", b"AssignmentId,WorkerId,Answer.x\n1,A\n2,A,x,=1\n")
    lines = list(csv.reader(io.StringIO(review_file(table, {row.work: [] for row in table.rows}))))
    assert lines[1:] == [["1", "A", "", "", ""], ["2", "A", "x", "'=1", ""]]


@pytest.mark.parametrize("shape", ["plain", "turkle"])
def test_accounts_that_begin_a_formula_are_marked_as_text(shape: str) -> None:
    account = '=HYPERLINK("https://evil.example.org/","pay")'
    table = parse_results(
        "r.csv", results_file(shape, [Sheet("b", account, "1", "x"), Sheet("+b", "A", "@2", "x")])
    )
    lines = list(csv.reader(io.StringIO(review_file(table, {}))))
    assert any("'" + account in line for line in lines)
    assert not any(cell.startswith(("=", "+", "-", "@")) for line in lines for cell in line)


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx", "\rx"])
def test_formulas_are_marked_as_text(text: str) -> None:
    assert safe_cell(text) == "'" + text
    assert safe_cell("x" + text) == "x" + text
