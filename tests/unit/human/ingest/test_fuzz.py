"""Thousands of damaged and forged results files: each row is a true answer, or refused with a reason.

What is true is told by ``legal``, written without the package's parsers and models.
"""

from __future__ import annotations

import csv
import hmac
import io
import json
import math
import re
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.answers import SHAPES, Sheet, perfect, results_file
from tests.support.built import invented_study
from tests.support.forgery import forge
from vader_bench.errors import UserError
from vader_bench.human.ingest.ingest import ingest
from vader_bench.human.ingest.results_file import parse_results
from vader_bench.human.plan import Built
from vader_bench.human.responses import Submission
from vader_bench.seeding import numpy_stream

SALT = b"s" * 32
ACCOUNTS = ("AZ0QJV", "AZ1QJV")


@pytest.fixture(scope="module", params=[False, True], ids=["two choices", "ties"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    changes = {
        "responses": 4,
        "lines": ["a red car", "a blue book"],
        "blocks": {"items": 2, "gold": 1, "repeats": 1},
    }
    return invented_study(tmp_path_factory.mktemp("study"), ties=request.param, **changes)


def sheets(built: Built) -> list[Sheet]:
    return [
        Sheet(block, account, f"3ASSIGNMENT{place}", perfect(built, block))
        for place, (block, account) in enumerate(zip(built.key.blocks, ACCOUNTS, strict=True))
    ]


def no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({key for key, _ in pairs}) == len(pairs)
    return dict(pairs)


def finite(text: str) -> float:
    assert math.isfinite(float(text))
    return float(text)


def short(text: str) -> int:
    assert len(text) <= 18
    return int(text)


def shallow(text: str) -> bool:
    depth, quoted, skip = 0, False, False
    for character in text:
        if skip:
            skip = False
        elif quoted:
            skip, quoted = character == "\\", character != '"'
        else:
            quoted = character == '"'
            depth += (character in "[{") - (character in "]}")
            if depth > 16:
                return False
    return True


def parsed(text: str) -> Any:
    assert shallow(text)
    data = json.loads(
        text, object_pairs_hook=no_twice, parse_float=finite, parse_int=short, parse_constant=no_constant
    )
    json.dumps(data, ensure_ascii=False).encode()
    return data


def no_constant(name: str) -> Any:
    raise AssertionError(name)


def whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def real(value: Any, most: float) -> bool:
    return type(value) in {int, float} and 0 <= value <= most


def pair_of(values: Any, check: Any) -> bool:
    return type(values) is list and len(values) == 2 and all(check(value) for value in values)


def sent(header: list[str], cells: list[str]) -> tuple[str, str]:
    """Return block and answers of a row, whichever the shape."""
    found: dict[str, set[str]] = {"block_id": set(), "answers_json": set()}
    for name, values in found.items():
        options = {}
        for column, cell in zip(header, cells, strict=True):
            if column == f"Answer.{name}" and cell:
                values.add(cell)
            if column.startswith(f"Answer.{name}.") and cell:
                options[column.removeprefix(f"Answer.{name}.")] = cell
        if "label" in options and options["label"].lower() not in {"true", "false"}:
            values.add(options["label"])
        else:
            yes = [option for option, cell in options.items() if cell.lower() == "true"]
            values.update(yes if len(yes) == 1 else [])
    if "Answer.taskAnswers" in header and (text := cells[header.index("Answer.taskAnswers")]):
        (task,) = parsed(text)
        assert type(task) is dict
        for name, values in found.items():
            if name in task and type(task[name]) is str:
                values.add(task[name])
            elif name in task and type(task[name]) is dict:
                label = task[name].get("label")
                yes = [option for option, switch in task[name].items() if switch is True]
                values.update([label] if type(label) is str else yes if len(yes) == 1 else [])
    (block,), (answers,) = found["block_id"], found["answers_json"]
    return block, answers


def legal(built: Built, header: list[str], cells: list[str]) -> dict[str, Any]:
    """Return what a row says, with assertions on all that an answer must be."""
    if header[len(cells) :] == ["Approve", "Reject"]:
        cells = [*cells, "", ""]
    assert len(cells) == len(header)
    assert all(len(cell) <= 200_000 and "\0" not in cell for cell in cells)
    row = dict(zip(header, cells, strict=True))
    turkle = row.get("Turkle.Username")
    account = (row["WorkerId"] if turkle is None else turkle).strip()
    platform = "mturk" if turkle is None else "turkle"
    if platform == "turkle" and account.startswith("prolific-"):
        platform, account = "prolific", account[len("prolific-") :]
    assignment = row["AssignmentId"].strip()
    assert 0 < len(account) <= 256
    assert 0 < len(assignment) <= 256
    assert account.isprintable()
    assert assignment.isprintable()
    assert row.get("AssignmentStatus", "").strip() in {"", "Submitted", "Approved", "Rejected"}
    block, text = sent(header, cells)
    assert row.get("Input.block_id", block) == block
    answers = parsed(text)
    check_answers(built, block, answers)
    return {"account": account, "platform": platform, "assignment": assignment, "block": block, **answers}


def check_answers(built: Built, block: str, answers: Any) -> None:
    assert type(answers) is dict
    assert set(answers) == {"v", "consent", "screen", "items"}
    assert whole(answers["v"], 1, 1)
    consent = answers["consent"]
    assert type(consent) is dict
    assert set(consent) == {"version", "at"}
    assert consent["version"] == built.plan.consent.version
    assert re.fullmatch(r"[0-9-]{10}T[0-9:]{8}(\.[0-9]{1,6})?Z", consent["at"])
    datetime.strptime(consent["at"][:19], "%Y-%m-%dT%H:%M:%S")  # noqa: DTZ007
    assert pair_of(answers["screen"], lambda value: whole(value, 0, 100_000))
    assert type(answers["items"]) is list
    assert [item["id"] for item in answers["items"]] == [item.id for item in built.key.blocks[block]]
    for item in answers["items"]:
        check_item(built, item)


def check_item(built: Built, item: Any) -> None:
    assert type(item) is dict
    assert set(item) == {"id", "a", "ended", "frac", "err", "dims", "blur", "problem", "ms"}
    assert type(item["a"]) is dict
    assert set(item["a"]) == {question.id for question in built.plan.questions}
    assert whole(item["problem"], 0, 1)
    options = [None] if item["problem"] else ["L", "R", "T"] if built.plan.ties else ["L", "R"]
    assert all(answer in options for answer in item["a"].values())
    assert pair_of(item["ended"], lambda value: whole(value, 0, 10**6))
    assert pair_of(item["frac"], lambda value: real(value, 1))
    assert pair_of(item["err"], lambda value: whole(value, -1, 4))
    assert pair_of(item["dims"], lambda values: type(values) is list and len(values) == 3)
    assert all(value is None or real(value, 10**6) for values in item["dims"] for value in values)
    assert whole(item["blur"], 0, 10**6)
    assert whole(item["ms"], 0, 10**9)


def says(built: Built, header: list[str], cells: list[str]) -> dict[str, Any] | None:
    try:
        return legal(built, header, cells)
    except (AssertionError, ValueError, TypeError, KeyError, RecursionError):
        return None


def check_same(one: Submission, truth: dict[str, Any]) -> None:
    text = truth["platform"] + "\x1f" + truth["account"]
    assert one.rater == hmac.digest(SALT, text.encode(), "sha256").hex()[:16]
    assert (one.platform, one.block, one.screen) == (truth["platform"], truth["block"], truth["screen"])
    assert one.consent.model_dump() == truth["consent"]
    assert len(one.items) == len(truth["items"])
    for found, item in zip(one.items, truth["items"], strict=True):
        assert (found.id, found.answers, found.milliseconds) == (item["id"], item["a"], item["ms"])
        assert (found.ended, found.watched, found.errors) == (item["ended"], item["frac"], item["err"])
        assert (found.blurs, found.problem) == (item["blur"], bool(item["problem"]))


def check(built: Built, data: bytes) -> str:
    """Ingest a file, hold every row against the truth, and return what became of it."""
    try:
        table = parse_results("forged.csv", data)
    except UserError as error:
        return "file refused" if error.given == "forged.csv" else error.given
    outcome = ingest(built, [table], SALT)
    found = outcome.ingested
    before = csv.field_size_limit(10**9)
    header, *lines = [line for line in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")) if line]
    csv.field_size_limit(before)
    assert len(found.submissions) + len(found.refused) == len(lines) == found.sources[0].rows
    assert all(one.reason.strip() for one in found.refused)
    public = found.model_dump_json()
    assert not any(account in public for account in ACCOUNTS)
    accepted = {one.source: one for one in found.submissions}
    reasons = {one.source: one.reason for one in found.refused}
    seen = set()
    for number, cells in enumerate(lines, start=1):
        source, truth = f"forged.csv:{number}", says(built, header, cells)
        if truth is None:
            assert source in reasons, "a false answer was accepted"
        elif (assignment := (truth["platform"], truth["assignment"])) in seen:
            assert reasons[source].startswith("the same assignment was reported before")
        else:
            seen.add(assignment)
            assert source in accepted, reasons[source]
            check_same(accepted[source], truth)
    blocks = Counter(one.block for one in found.used)
    assert all(count == 1 for count in blocks.values())
    if reasons:
        return "all rows refused" if not accepted else "some rows refused"
    return "all rows accepted"


def run(built: Built, count: int) -> Counter[str]:
    originals = [results_file(shape, sheets(built)) for shape in SHAPES]
    others = [
        *built.key.blocks,
        *(item.id for items in built.key.blocks.values() for item in items),
        *ACCOUNTS,
    ]
    outcomes: Counter[str] = Counter()
    for index in range(count):
        rng: np.random.Generator = numpy_stream(20261125, "forged results", index)
        data = forge(originals[index % len(originals)], rng, others)
        try:
            outcomes[check(built, data)] += 1
        except Exception as error:
            error.add_note(f"file {index}")
            raise
    return outcomes


def test_files_that_nobody_changed_are_accepted_whole(built: Built) -> None:
    for shape in SHAPES:
        assert check(built, results_file(shape, sheets(built))) == "all rows accepted"


def test_two_hundred_forged_files(built: Built) -> None:
    outcomes = run(built, 100)
    assert set(outcomes) == {"file refused", "all rows refused", "some rows refused", "all rows accepted"}


@pytest.mark.slow
def test_ten_thousand_forged_files(built: Built) -> None:
    outcomes = run(built, 5000)
    assert min(outcomes.values()) > 100


@pytest.mark.parametrize("text", ["{", "[]", '{"v":1}', '{"v":1,"v":1}', "NaN", "[" * 100_000, '"\\ud800"'])
def test_the_judge_of_the_forged_is_no_rubber_stamp(built: Built, text: str) -> None:
    block = next(iter(built.key.blocks))
    data = results_file("plain", [Sheet(block, "A", "1", text)])
    header, cells = list(csv.reader(io.StringIO(data.decode())))
    assert says(built, header, cells) is None


def test_answers_of_a_file_are_those_that_were_sent(built: Built, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(results_file("tasks", sheets(built)))
    table = parse_results("x.csv", (tmp_path / "x.csv").read_bytes())
    assert json.loads(table.rows[0].fields["answers_json"]) == sheets(built)[0].answers
