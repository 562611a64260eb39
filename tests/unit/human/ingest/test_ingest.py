"""From results files to the answers of a study."""

from __future__ import annotations

import csv
import dataclasses
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import SHAPES, Sheet, perfect, results_file, sheets_of
from tests.support.built import invented_study
from vader_bench.errors import UserError
from vader_bench.human.ingest.ingest import (
    PRIVATE,
    REFUSED,
    SALT,
    IngestResult,
    ingest,
    load_salt,
    pseudonym,
    write_outcome,
)
from vader_bench.human.ingest.results_file import parse_results
from vader_bench.human.plan import Built
from vader_bench.human.responses import load_ingested

KEY = bytes(range(32))


@pytest.fixture
def built(tmp_path: Path) -> Built:
    return invented_study(tmp_path)


def taken(built: Built, *parts: list[Sheet], shape: str = "plain") -> IngestResult:
    tables = [parse_results(f"{'abc'[n]}.csv", results_file(shape, part)) for n, part in enumerate(parts)]
    return ingest(built, tables, KEY)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_same_answers_are_read_from_all_shapes(built: Built) -> None:
    found = [taken(built, sheets_of(built), shape=shape).ingested for shape in SHAPES]
    for one in found:
        assert len(one.submissions) == len(one.used) == len(built.key.blocks)
        assert one.refused == []
        assert not one.simulated
    assert found[0].submissions == found[1].submissions == found[2].submissions
    from_turkle = [
        one.model_copy(update={"platform": "mturk", "rater": other.rater})
        for one, other in zip(found[3].submissions, found[0].submissions, strict=True)
    ]
    assert from_turkle == found[0].submissions


def test_pseudonyms_are_stable_and_tell_platforms_and_accounts_apart() -> None:
    assert pseudonym(KEY, "mturk", "A1") == pseudonym(KEY, "mturk", "A1")
    names = [
        pseudonym(key, *who) for key in (KEY, KEY[::-1]) for who in (("m", "A1"), ("t", "A1"), ("m", "A2"))
    ]
    assert len(set(names)) == 6
    assert pseudonym(KEY, "m", "A1") != pseudonym(KEY, "mA", "1")
    assert all(len(name) == 16 and set(name) <= set("0123456789abcdef") for name in names)


def test_the_salt_is_made_once_and_is_its_owners(built: Built) -> None:
    salt = load_salt(built.folder)
    assert len(salt) == 32
    (built.folder / SALT).chmod(0o644)
    assert load_salt(built.folder) == salt
    assert mode(built.folder / SALT) == 0o600
    assert mode(built.folder / "key") == 0o700
    (built.folder / SALT).write_text("short")
    with pytest.raises(UserError, match="is no salt"):
        load_salt(built.folder)


def test_no_account_and_no_salt_is_in_what_may_be_published(built: Built) -> None:
    sheets = [dataclasses.replace(sheet, account="SECRET" + sheet.account) for sheet in sheets_of(built)]
    sheets[0] = dataclasses.replace(sheets[0], block=sheets[0].account)
    sheets[1] = dataclasses.replace(sheets[1], status=sheets[1].account, submitted=sheets[1].account)
    sheets[2] = dataclasses.replace(sheets[2], submitted=sheets[2].account)
    sheets[3] = dataclasses.replace(sheets[3], answers={sheets[3].account: sheets[3].account})
    salt = load_salt(built.folder)
    outcome = ingest(built, [parse_results("r.csv", results_file("plain", sheets))], salt)
    assert len(outcome.ingested.refused) == 3
    write_outcome(built.folder, outcome)
    for path in (built.folder / "responses").rglob("*"):
        assert "SECRET" not in path.read_text("utf-8")
        assert salt.hex() not in path.read_text("utf-8")
    assert "SECRETA00001" in (built.folder / PRIVATE / "review-r.csv").read_text("utf-8")
    assert mode(built.folder / PRIVATE) == 0o700
    assert mode(built.folder / PRIVATE / "review-r.csv") == 0o600


def test_what_is_written_is_read_again_and_replaced(built: Built) -> None:
    sheets = sheets_of(built)
    outcome = taken(built, [*sheets, Sheet("=block", "A", "x", "")])
    paths = write_outcome(built.folder, outcome)
    assert [path.relative_to(built.folder).as_posix() for path in paths] == [
        *("private/review-a.csv", "responses/refused.csv", "responses/responses.json")
    ]
    assert load_ingested(built.folder) == outcome.ingested
    assert list(csv.reader((built.folder / REFUSED).read_text("utf-8").splitlines())) == [
        ["source", "reason"],
        ["a.csv:7", "it answers a block that is not of this study"],
    ]
    write_outcome(built.folder, taken(built, sheets[:2]))
    assert len(load_ingested(built.folder).submissions) == 2
    assert (built.folder / REFUSED).read_text("utf-8").count("\n") == 1


def test_review_files_of_results_that_are_no_longer_given_are_deleted(built: Built) -> None:
    sheets = sheets_of(built)
    data = results_file("plain", sheets)
    both = [parse_results(name, data) for name in ("pilot.csv", "main.csv")]
    write_outcome(built.folder, ingest(built, both, load_salt(built.folder)))
    (built.folder / PRIVATE / "notes.csv").write_text("mine")
    write_outcome(built.folder, ingest(built, both[1:], load_salt(built.folder)))
    names = {path.name for path in (built.folder / PRIVATE).iterdir()}
    assert names == {"review-main.csv", "notes.csv"}


def refusals(built: Built, **changes: Any) -> list[str]:
    sheet = dataclasses.replace(sheets_of(built)[0], **changes)
    return [one.reason for one in taken(built, [sheet]).ingested.refused]


def test_why_a_row_is_refused_is_reported(built: Built) -> None:
    other = list(built.key.blocks)[1]
    assert refusals(built) == []
    assert refusals(built, status="Returned") == ["its status says that it was not handed in"]
    assert refusals(built, block="") == ["it does not say which block it answers"]
    assert refusals(built, block="b") == ["it answers a block that is not of this study"]
    assert refusals(built, answers="") == ["it holds no answers"]
    assert refusals(built, block=other)[0].startswith("its pairs are not those of the block")


def test_an_answer_to_another_block_than_was_shown_is_refused(built: Built) -> None:
    data = results_file("tasks", sheets_of(built)[:1]).decode()
    one, other = list(built.key.blocks)[:2]
    table = parse_results("r.csv", data.replace(f'"{one}","{{', f'"{other}","{{').encode())
    (refused,) = ingest(built, [table], KEY).ingested.refused
    assert refused.reason == "it answers another block than the platform showed"
    table = parse_results("r.csv", data.replace("Input.block_id", "Input.other").encode())
    assert ingest(built, [table], KEY).ingested.refused == []


def test_an_assignment_counts_once_over_all_files(built: Built) -> None:
    sheets = sheets_of(built)
    changed = dataclasses.replace(sheets[1], answers=perfect(built, sheets[1].block, lambda *_: "L"))
    outcome = taken(built, sheets[:3], [sheets[0], changed, *sheets[3:]])
    assert len(outcome.ingested.used) == len(sheets)
    assert [(one.source, one.reason) for one in outcome.ingested.refused] == [
        ("b.csv:1", "the same assignment was reported before (a.csv:1)"),
        ("b.csv:2", "the same assignment was reported before (a.csv:2), with other content"),
    ]
    assert sum(source.rows for source in outcome.ingested.sources) == 8
    assert all(text.count('"x"') == text.count("\n") - 1 for text in outcome.reviews.values())


@pytest.mark.parametrize("change", ["account", "block"])
def test_who_is_refused_for_the_number_of_anothers_work_is_not_paid_by_it(built: Built, change: str) -> None:
    sheets = sheets_of(built)
    same = dataclasses.replace(sheets[1], assignment=sheets[0].assignment, account=sheets[0].account)
    other = same if change == "block" else dataclasses.replace(sheets[0], account="other")
    outcome = taken(built, sheets[:1], [other], shape="turkle")  # two servers count alike
    assert [one.reason for one in outcome.ingested.refused] == [
        "the same assignment was reported before (a.csv:1), with other content"
    ]
    assert '"x"' in outcome.reviews["review-a.csv"]
    assert '"x"' not in outcome.reviews["review-b.csv"]


def test_a_broken_copy_of_an_assignment_does_not_keep_out_the_whole_one(built: Built) -> None:
    sheet = sheets_of(built)[0]
    found = taken(built, [dataclasses.replace(sheet, answers="{")], [sheet]).ingested
    assert [one.source for one in found.submissions] == ["b.csv:1"]


def test_the_first_by_time_is_kept_whatever_the_order_of_files(built: Built) -> None:
    sheet = sheets_of(built)[0]
    late, early, unknown = (
        dataclasses.replace(sheet, assignment=name, submitted=time)
        for name, time in (
            ("l", "Wed Nov 25 04:10:00 PST 2026"),
            ("e", "Wed Nov 25 11:10:00 UTC 2026"),
            ("u", "Wed Nov 25 01:00:00 XYZ 2026"),
        )
    )
    found = taken(built, [unknown, late], [early]).ingested
    assert [one.source for one in found.submissions] == ["b.csv:1", "a.csv:2", "a.csv:1"]
    assert [bool(one.unpaid) for one in found.submissions] == [False, True, True]


def test_what_the_platform_rejected_is_kept_but_not_used(built: Built) -> None:
    first, *rest = sheets_of(built)
    rejected = dataclasses.replace(first, status="Rejected")
    again = dataclasses.replace(first, account="B", assignment="new")
    outcome = taken(built, [rejected, *rest, again])
    by_source = {one.source: one for one in outcome.ingested.submissions}
    assert by_source["a.csv:1"].unused == ["rejected on the platform"]
    assert by_source["a.csv:7"].unused == []
    later = taken(built, [first], [rejected]).ingested
    assert [one.unused for one in later.submissions] == [["rejected on the platform"]]


@pytest.mark.parametrize("account", ["SIMULATED-1", "prolific-SIMULATED-1"])
def test_simulated_raters_mark_everything(built: Built, account: str) -> None:
    sheets = sheets_of(built)
    assert not taken(built, sheets, shape="turkle").ingested.simulated
    sheets[4] = dataclasses.replace(sheets[4], account=account)
    assert taken(built, sheets, shape="turkle").ingested.simulated


def test_two_files_of_one_name_are_refused(built: Built) -> None:
    table = parse_results("a.csv", results_file("plain", sheets_of(built)))
    for name in ("a.csv", "a.txt"):
        with pytest.raises(UserError, match="is the name of two files"):
            ingest(built, [table, dataclasses.replace(table, name=name)], KEY)


def test_plan_and_files_are_named_by_their_digests(built: Built) -> None:
    found = taken(built, sheets_of(built)).ingested
    assert (found.study, found.plan_sha256) == (built.key.study, built.plan.digest)
    assert len(found.sources[0].sha256) == 64
    assert json.loads(found.model_dump_json())["version"] == 1
