"""What comes from outside is checked before anything is done with it."""

from __future__ import annotations

import json

import pytest

from vader_bench.human.serving.study_site.checks import (
    LONGEST,
    byte_span,
    is_answer,
    is_preview,
    listed,
    prolific_ids,
)

IDS = {"PROLIFIC_PID": "5F" + 22 * "a", "STUDY_ID": 24 * "1", "SESSION_ID": 24 * "b"}
GOOD = {"block_id": ["b1"], "answers_json": ['{"v": 1}'], "csrfmiddlewaretoken": ["x"]}


def test_the_ids_of_prolific_come_in_small_letters() -> None:
    assert prolific_ids(IDS) == ("5f" + 22 * "a", 24 * "1", 24 * "b")


@pytest.mark.parametrize(
    "wrong", ["", 23 * "a", 25 * "a", 24 * "g", 24 * "a" + "\n", "{{%PROLIFIC_PID%}}", 24 * "\u0661"]
)
@pytest.mark.parametrize("name", IDS)
def test_anything_but_ids_of_prolific_is_refused(name: str, wrong: str) -> None:
    assert prolific_ids(IDS | {name: wrong}) is None
    assert prolific_ids({key: value for key, value in IDS.items() if key != name}) is None


@pytest.mark.parametrize("person", ["preview-5f3c", "{{%PROLIFIC_PID%}}", "1", 23 * "a", 25 * "a"])
def test_a_look_at_the_study_from_its_form_is_a_preview(person: str) -> None:
    assert is_preview(IDS | {"PROLIFIC_PID": person})
    assert prolific_ids(IDS | {"PROLIFIC_PID": person}) is None


@pytest.mark.parametrize("name", IDS)
def test_ids_of_people_and_what_is_no_id_at_all_are_no_preview(name: str) -> None:
    assert not is_preview(IDS)
    for wrong in ("", "a b", "<b>", "a\n", 101 * "a", 24 * "\u0661"):
        assert not is_preview(IDS | {"STUDY_ID": "preview", name: wrong})
    assert not is_preview({key: value for key, value in IDS.items() if key != name} | {"x": "preview"})


def test_a_list_of_people_may_come_from_anywhere() -> None:
    assert listed("") == []
    assert listed(" 5F \r\n\nab") == ["5f", "", "ab"]


def test_an_answer_is_the_two_fields_of_the_page() -> None:
    assert is_answer(GOOD, "b1")


@pytest.mark.parametrize(
    "changed",
    [
        {"block_id": ["b2"]},
        {"block_id": ["b1", "b1"]},
        {"answers_json": [""]},
        {"answers_json": ["[]"]},
        {"answers_json": ["{"]},
        {"answers_json": ["[" * 50_000]},
        {"answers_json": [json.dumps({"v": "x" * LONGEST})]},
        {"answers_json": ["{}", "{}"]},
        {"extra": ["1"]},
    ],
)
def test_anything_else_is_no_answer(changed: dict[str, list[str]]) -> None:
    assert not is_answer(GOOD | changed, "b1")


@pytest.mark.parametrize("name", ["block_id", "answers_json"])
def test_a_field_may_not_be_missing(name: str) -> None:
    assert not is_answer({key: value for key, value in GOOD.items() if key != name}, "b1")


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, (0, 100)),
        ("bytes=0-", (0, 100)),
        ("bytes=0-1", (0, 2)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-200", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-200", (0, 100)),
        ("bytes=100-", None),
        ("bytes=100-120", None),
        ("bytes=-0", None),
        # not understood: the whole file, as the standard says
        ("bytes=-", (0, 100)),
        ("bytes=20-10", (0, 100)),
        ("bytes=0-1,5-6", (0, 100)),
        ("items=0-1", (0, 100)),
        ("bytes=\u0663-", (0, 100)),
        ("bytes=" + "9" * 5000 + "-", (0, 100)),
    ],
)
def test_a_part_of_a_file_is_what_the_header_says(header: str | None, span: tuple[int, int] | None) -> None:
    assert byte_span(header, 100) == span
