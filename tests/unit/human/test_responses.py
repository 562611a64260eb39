"""The file of answers, read again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.human.responses import (
    RESPONSES,
    Consent,
    Ingested,
    ItemAnswers,
    Source,
    Submission,
    load_ingested,
    reason_kind,
    tally,
)


def submission(rater: str, unused: list[str]) -> Submission:
    item = ItemAnswers(
        id="one",
        answers={"text": "L", "quality": None},
        ended=[1, 2],
        watched=[1.0, 0.95],
        errors=[0, 0],
        blurs=0,
        problem=False,
        milliseconds=4000,
    )
    return Submission(
        rater=rater,
        block="b",
        source="batch.csv:1",
        platform="turkle",
        submitted="",
        consent=Consent(version="1", at="2026-11-25T12:00:00Z"),
        screen=[1280, 800],
        items=[item],
        unused=unused,
    )


def test_answers_are_read_as_they_were_written_and_only_some_are_used(tmp_path: Path) -> None:
    found = Ingested(
        study="small",
        plan_sha256="0" * 64,
        simulated=True,
        sources=[Source(name="batch.csv", sha256="1" * 64, rows=2)],
        submissions=[submission("a", []), submission("b", ["gold"])],
        refused=[],
    )
    (tmp_path / RESPONSES).parent.mkdir()
    files.write_json(tmp_path / RESPONSES, found.model_dump(mode="json"))
    assert load_ingested(tmp_path) == found
    assert [one.rater for one in found.used] == ["a"]


def test_without_answers_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="study ingest"):
        load_ingested(tmp_path)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / RESPONSES).parent.mkdir()
    (tmp_path / RESPONSES).write_text(json.dumps({"version": 1}), "utf-8")
    with pytest.raises(UserError, match="not as it was written"):
        load_ingested(tmp_path)


def test_reasons_are_counted_by_kind() -> None:
    reasons = ["pair 1: bad", "pair 12: bad", "told before (a.csv:1)", "p = 1e-07, 90%", "pair 3: bad"]
    assert tally(reasons) == {"pair …: bad": 3, "p = …, …": 1, "told before": 1}


def test_kinds_of_reasons_have_no_numbers_and_no_rows() -> None:
    assert reason_kind("1 of 2 gold questions right, less than 100%") == (
        "… of … gold questions right, less than …"
    )
    assert reason_kind("sent before (batch.csv:12)") == "sent before"
    assert reason_kind("told before (batch (1).csv:12), with") == "told before, with"
