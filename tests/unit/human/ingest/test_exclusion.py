"""Who is paid and who is used, and that no rule knows the arms."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import first_arm, perfect
from tests.support.built import invented_study
from vader_bench.files import canonical_json
from vader_bench.human.ingest.exclusion import BlindItem, blind_view, judge
from vader_bench.human.ingest.page import read_answers
from vader_bench.human.plan import Built, ItemKey
from vader_bench.human.responses import Submission
from vader_bench.seeding import numpy_stream

Change = Callable[[list[dict[str, Any]]], object]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return invented_study(tmp_path_factory.mktemp("study"), ties=True)


def submission(
    built: Built, number: int = 0, rater: str = "a", change: Change = list, source: str | None = None
) -> Submission:
    block = list(built.key.blocks)[number]
    sent = perfect(built, block)
    change(sent["items"])
    read = read_answers(canonical_json(sent), built.plan, [item["id"] for item in sent["items"]])
    return Submission(
        rater=rater,
        block=block,
        source=source or f"r.csv:{number + 1}",
        platform="turkle",
        submitted="",
        consent=read.consent,
        screen=read.screen,
        items=read.items,
    )


def verdicts(built: Built, *given: Submission, rejected: tuple[str, ...] = ()) -> list[list[str]]:
    return [one.unused for one in judge(given, blind_view(built.key), built.plan, rejected)]


def place(built: Built, number: int, **wanted: Any) -> int:
    """Return where in a block the item with these fields is."""
    items = list(built.key.blocks.values())[number]
    return next(
        index
        for index, item in enumerate(items)
        if all(getattr(item, name) == value for name, value in wanted.items())
    )


def unanswered(item: dict[str, Any]) -> None:
    item |= {"a": dict.fromkeys(item["a"]), "problem": 1}


def test_a_view_without_arms_has_no_word_of_them(built: Built) -> None:
    assert {field.name for field in dataclasses.fields(BlindItem)} == {
        *("id", "role", "prompt", "gold", "right_answer", "repeats")
    }
    view = blind_view(built.key)
    assert not any(arm in repr(view) for arm in built.arms)
    assert [len(items) for items in view.values()] == [len(items) for items in built.key.blocks.values()]


def test_good_work_is_paid_and_used(built: Built) -> None:
    given = [submission(built, number, f"r{number // 3}") for number in range(6)]
    judged = judge(given, blind_view(built.key), built.plan)
    assert judged == given


@pytest.mark.parametrize("answer", ["wrong", "T"])
def test_a_gold_question_answered_wrong(built: Built, answer: str) -> None:
    index = place(built, 0, role="gold")
    gold = next(iter(built.key.blocks.values()))[index]
    wrong = {"L": "R", "R": "L"}[str(gold.right_answer)] if answer == "wrong" else "T"
    tested, other = ("text", "quality") if gold.gold == "mismatch" else ("quality", "text")
    bad = submission(built, change=lambda items: items[index]["a"].update({tested: wrong}))
    assert verdicts(built, bad) == [["0 of 1 gold questions right, less than 100%"]]
    fine = submission(built, change=lambda items: items[index]["a"].update({other: wrong}))
    assert verdicts(built, fine) == [[]], "a gold pair tests the questions of its kind only"


def test_a_gold_that_did_not_play_tests_nothing(built: Built) -> None:
    index = place(built, 0, role="gold")
    assert verdicts(built, submission(built, change=lambda items: unanswered(items[index]))) == [[]]


def test_a_video_not_watched(built: Built) -> None:
    def skip(items: list[dict[str, Any]]) -> None:
        items[0]["frac"], items[1]["frac"] = [1, 0.899], [0.25, 0.9]

    (reasons,) = verdicts(built, submission(built, change=skip))
    assert reasons == ["2 of 6 answered pairs not watched to 90%, the worst to 25.0%"]
    enough = submission(built, change=lambda items: items[0].update(frac=[0.9, 0.9]))
    assert verdicts(built, enough) == [[]]


def test_a_pair_that_did_not_play_need_not_be_watched(built: Built) -> None:
    def broken(items: list[dict[str, Any]]) -> None:
        unanswered(items[place(built, 0, role="main")])
        items[place(built, 0, role="main")] |= {"frac": [0, 0], "ended": [0, 0], "err": [4, 4], "ms": 10}

    assert verdicts(built, submission(built, change=broken)) == [[]]


def test_work_faster_than_the_videos(built: Built) -> None:
    def hurry(ms: int) -> Change:
        return lambda items: [item.update(ms=ms) for item in items]

    (reasons,) = verdicts(built, submission(built, change=hurry(999)))
    assert reasons == ["median time for a pair 0.999 s, less than the 1 s of a video"]
    assert verdicts(built, submission(built, change=hurry(1000))) == [[]]


def turn_repeat(built: Built, number: int, *questions: str) -> Submission:
    """Return a block of one person in which the repeat is answered otherwise to ``questions``."""
    index = place(built, number, role="repeat")

    def turn(items: list[dict[str, Any]]) -> None:
        answers = items[index]["a"]
        answers.update({name: {"L": "R", "R": "L"}[answers[name]] for name in questions})

    return submission(built, number, change=turn)


def test_repeats_answered_otherwise_over_all_blocks_of_a_person(built: Built) -> None:
    both = ("text", "quality")
    assert verdicts(built, turn_repeat(built, 0, *both)) == [[]], "two answers are too few"
    assert verdicts(built, turn_repeat(built, 0, *both), turn_repeat(built, 1, "text")) == [[], []]
    told = ["0 of 4 repeated questions answered the same, less than 25%"]
    assert verdicts(built, turn_repeat(built, 0, *both), turn_repeat(built, 1, *both)) == [told, told]
    three = [turn_repeat(built, 0, *both), turn_repeat(built, 1, *both), submission(built, 2)]
    assert verdicts(built, *three) == [[], [], []], "2 of 6 are enough"


def test_ties_are_the_same_on_either_side(built: Built) -> None:
    again = place(built, 0, role="repeat")
    first = place(built, 0, id=next(iter(built.key.blocks.values()))[again].repeats)

    def tie(items: list[dict[str, Any]]) -> None:
        for index in (first, again):
            items[index]["a"] = {"text": "T", "quality": "T"}

    assert verdicts(built, submission(built, change=tie)) == [[]]


def only_left(items: list[dict[str, Any]]) -> None:
    for item in items:
        item["a"] = dict.fromkeys(item["a"], "L")


def test_one_side_over_all_blocks_of_a_person(built: Built) -> None:
    few = verdicts(built, *[submission(built, number, change=only_left) for number in range(3)])
    assert not any("one side" in reason for reasons in few for reason in reasons), "18 answers are too few"
    given = [submission(built, number, change=only_left) for number in range(4)]
    for reasons in verdicts(built, *given, submission(built, 4, "b"))[:4]:
        assert "24 of 24 answers to 'text' are for one side, which chance does with p = 1e-07" in reasons
    assert verdicts(built, *given, submission(built, 4, "b"))[4] == []


def test_more_blocks_than_one_person_may_answer(built: Built) -> None:
    found = verdicts(built, *[submission(built, number) for number in range(5)])
    assert found[:3] == [[], [], []]
    assert found[3] == ["block 4 of this person, more than the 3 that each may answer"]
    assert found[4] == ["block 5 of this person, more than the 3 that each may answer"]


def test_the_same_block_sent_twice_is_neither_paid_nor_used_nor_counted(built: Built) -> None:
    given = [
        *(submission(built), submission(built, source="r.csv:9")),
        *(submission(built, 1), submission(built, 2)),
    ]
    judged = judge(given, blind_view(built.key), built.plan)
    reason = ["the same person sent this block before (r.csv:1)"]
    assert [one.unpaid for one in judged] == [[], reason, [], []]
    assert [one.unused for one in judged] == [[], reason, [], []]


def test_of_two_people_on_a_block_the_first_is_used(built: Built) -> None:
    given = [submission(built), submission(built, 0, "b", source="r.csv:2")]
    judged = judge(given, blind_view(built.key), built.plan)
    assert [one.unused for one in judged] == [[], ["block answered before by another person (r.csv:1)"]]
    assert [one.unpaid for one in judged] == [[], []]


def test_a_task_given_again_replaces_what_was_left_out(built: Built) -> None:
    hasty = submission(built, change=lambda items: [item.update(ms=1) for item in items])
    again = [submission(built, 0, rater, source=f"r.csv:{rater}") for rater in "bc"]
    first, second, third = verdicts(built, hasty, *again)
    assert first[0].startswith("median time")
    assert second == []
    assert third == ["block answered before by another person (r.csv:b)"]
    assert verdicts(built, hasty, *again, rejected=("r.csv:b",))[1:] == [["rejected on the platform"], []]


def test_who_did_nothing_is_not_paid_but_who_could_not_is(built: Built) -> None:
    def nothing(err: int) -> Change:
        def change(items: list[dict[str, Any]]) -> None:
            for item in items:
                unanswered(item)
                item |= {"frac": [0, 0], "ended": [0, 0], "err": [err, 0]}

        return change

    (idle, stuck) = judge(
        [submission(built, change=nothing(0)), submission(built, 1, "b", change=nothing(4))],
        blind_view(built.key),
        built.plan,
    )
    assert idle.unpaid == ["nothing was answered and no video was played, though none failed"]
    assert stuck.unpaid == []
    assert idle.unused == stuck.unused == ["nothing was answered"]


def relabelled(built: Built, swap: Callable[[ItemKey], dict[str, Any]]) -> Built:
    blocks = {
        name: [item.model_copy(update=swap(item)) for item in items]
        for name, items in built.key.blocks.items()
    }
    return dataclasses.replace(built, key=built.key.model_copy(update={"blocks": blocks}))


def test_other_arms_in_the_key_change_no_verdict(built: Built) -> None:
    rng = numpy_stream(3, "answers")

    def at_random(items: list[dict[str, Any]]) -> None:
        for item in items:
            item["a"] = {name: "LRT"[rng.integers(3)] for name in item["a"]}
            item["frac"] = [round(float(rng.uniform(0.85, 1)), 3), 1]
            item["ms"] = int(rng.integers(200, 3000))

    given = [
        submission(built, number % 6, f"r{number % 4}", at_random, f"r.csv:{number}") for number in range(40)
    ]
    judged = judge(given, blind_view(built.key), built.plan)
    assert len({reason[:4] for one in judged for reason in one.unused}) > 3
    for swap in (
        lambda item: {"left": item.right, "right": item.left},
        lambda item: {"left": "x" if item.left == "unrefined" else "y", "right": "z"},
        lambda item: {"left": "LR"[rng.integers(2)], "right": "LR"[rng.integers(2)]},
    ):
        assert judge(given, blind_view(relabelled(built, swap).key), built.plan) == judged


def test_the_arm_that_is_preferred_changes_no_verdict(built: Built, tmp_path: Path) -> None:
    def against(item: ItemKey, question: str) -> Any:
        side = first_arm(item, question)
        return side if item.right_answer else {"L": "R", "R": "L"}[side]

    def other(number: int) -> Change:
        return lambda items: [
            item.update(a={name: against(key, name) for name in item["a"]})
            for item, key in zip(items, list(built.key.blocks.values())[number], strict=True)
        ]

    assert verdicts(built, *[submission(built, n, f"r{n}", other(n)) for n in range(6)]) == [[]] * 6
