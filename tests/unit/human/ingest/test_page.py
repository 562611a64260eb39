"""What a page sent, whole or refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import perfect
from tests.support.built import invented_study
from vader_bench.human.ingest.page import BlockAnswers, read_answers
from vader_bench.human.ingest.strict_json import UnreadableError
from vader_bench.human.plan import Built

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return invented_study(tmp_path_factory.mktemp("study"))


def block(built: Built) -> str:
    return next(iter(built.key.blocks))


def read(built: Built, answers: dict[str, Any] | str) -> BlockAnswers:
    ids = [item.id for item in built.key.blocks[block(built)]]
    return read_answers(answers if isinstance(answers, str) else json.dumps(answers), built.plan, ids)


def test_a_whole_answer_is_read(built: Built) -> None:
    sent = perfect(built, block(built))
    found = read(built, sent)
    assert found.consent.model_dump() == sent["consent"]
    assert found.screen == sent["screen"]
    assert [item.answers for item in found.items] == [item["a"] for item in sent["items"]]
    first = found.items[0]
    assert (first.ended, first.watched, first.errors) == ([1, 2], [1.0, 0.998], [0, 0])
    assert (first.blurs, first.problem, first.milliseconds) == (0, False, 9000)


def test_a_video_that_did_not_play_leaves_its_pair_without_answers(built: Built) -> None:
    sent = perfect(built, block(built))
    sent["items"][2] |= {"a": {"text": None, "quality": None}, "problem": 1, "ended": [0, 1], "err": [4, 0]}
    sent["items"][2] |= {"frac": [0, 1], "dims": [[0, 0, 0], [64, 48, None]]}
    found = read(built, sent).items[2]
    assert found.problem
    assert found.answers == {"text": None, "quality": None}
    assert found.errors == [4, 0]


def test_the_order_of_questions_is_that_of_the_plan(built: Built) -> None:
    sent = perfect(built, block(built))
    sent["items"][0]["a"] = dict(reversed(sent["items"][0]["a"].items()))
    assert list(read(built, sent).items[0].answers) == ["text", "quality"]


def test_ties_are_answers_where_the_plan_has_them(built: Built, tmp_path: Path) -> None:
    sent = perfect(built, block(built))
    sent["items"][1]["a"]["text"] = "T"
    with pytest.raises(UnreadableError, match="pair 2: 'about the same' is no option"):
        read(built, sent)
    assert read(invented_study(tmp_path, ties=True), sent).items[1].answers["text"] == "T"


def item(**changes: Any) -> Change:
    return lambda sent: sent["items"][0].update(changes)


def top(**changes: Any) -> Change:
    return lambda sent: sent.update(changes)


CHANGES: list[tuple[Change, str]] = [
    (top(v=2), "answers_json: v is out of range"),
    (top(v=True), "answers_json: v is of the wrong type"),
    (lambda sent: sent.pop("v"), "answers_json: v is missing"),
    (top(SECRET=1), "answers_json has a key that the page does not write"),
    (item(SECRET=1), "answers_json has a key that the page does not write"),
    (top(consent=None), "it was sent without consent"),
    (top(consent={"version": "2", "at": "2026-11-25T12:00:00.000Z"}), "the consent is to another version"),
    (top(consent={"version": "1", "at": "SECRET"}), "the time of the consent is no time"),
    (top(consent={"version": "1", "at": "2026-02-30T12:00:00Z"}), "the time of the consent is no time"),
    (top(screen=[1280]), "answers_json: screen has the wrong number of values"),
    (top(screen=[1280, -1]), "answers_json: screen 1 is out of range"),
    (top(items="SECRET"), "answers_json: items is of the wrong type"),
    (top(items=[]), "its pairs are not those of the block: 6 lacking, 0 too many"),
    (lambda sent: sent["items"].reverse(), "its pairs are not in the order of the block"),
    (lambda sent: sent["items"].pop(), "its pairs are not those of the block: 1 lacking, 0 too"),
    (
        lambda sent: sent["items"].append(sent["items"][0]),
        "its pairs are not those of the block: 0 lacking, 1",
    ),
    (item(id="SECRET"), "its pairs are not those of the block: 1 lacking, 1 too many"),
    (item(a={"text": "L"}), "pair 1: its answers are not to the questions of the plan"),
    (item(a={"text": "L", "quality": "L", "SECRET": "L"}), "pair 1: its answers are not to the questions"),
    (item(a={"text": "SECRET", "quality": "L"}), "answers_json: pair 1 a is no option"),
    (item(a={"text": None, "quality": "L"}), "pair 1: an answer is missing although no video"),
    (item(problem=1), "pair 1: it is answered although a video is said not to play"),
    (item(problem=1, a={"text": None, "quality": "L"}), "pair 1: it is answered although a video"),
    (item(problem=True), "answers_json: pair 1 problem is of the wrong type"),
    (item(frac=[1.0001, 1]), "answers_json: pair 1 frac 0 is out of range"),
    (item(frac=[1, -0.1]), "answers_json: pair 1 frac 1 is out of range"),
    (item(ended=[-1, 1]), "answers_json: pair 1 ended 0 is out of range"),
    (item(ended=[1.5, 1]), "answers_json: pair 1 ended 0 is of the wrong type"),
    (item(err=[0, 5]), "answers_json: pair 1 err 1 is out of range"),
    (item(dims=[[64, 48], [64, 48, 1]]), "answers_json: pair 1 dims 0 has the wrong number of values"),
    (item(blur=-1), "answers_json: pair 1 blur is out of range"),
    (item(ms=10**10), "answers_json: pair 1 ms is out of range"),
    (item(ms="9000"), "answers_json: pair 1 ms is of the wrong type"),
    (item(ms=None), "answers_json: pair 1 ms is of the wrong type"),
    (item(ms=10**30), "answers_json holds a number that is too large"),
    (item(ms=float("nan")), "answers_json holds NaN, which is no number"),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES)
def test_one_wrong_thing_refuses_all_and_is_reported(built: Built, change: Change, reason: str) -> None:
    sent = copy.deepcopy(perfect(built, block(built)))
    change(sent)
    with pytest.raises(UnreadableError) as caught:
        read(built, sent)
    assert str(caught.value).startswith(reason)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it holds no answers"),
        (" ", "it holds no answers"),
        ("[]", "answers_json: it is of the wrong type"),
        ("{", "answers_json is not JSON"),
        ("[" * 5000, "answers_json is nested too deeply"),
    ],
)
def test_what_is_no_answer_is_refused(built: Built, text: str, reason: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        read(built, text)
    assert str(caught.value).startswith(reason)


def test_a_key_given_twice_is_refused(built: Built) -> None:
    text = json.dumps(perfect(built, block(built)))
    with pytest.raises(UnreadableError, match="names a key twice"):
        read(built, text.replace('"blur": 0', '"blur": 0, "blur": 0', 1))
