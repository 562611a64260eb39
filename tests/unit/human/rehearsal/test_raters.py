"""Simulated raters answer by the preference that was planted, and the same each time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.built import ARMS
from vader_bench.errors import UserError
from vader_bench.human.plan import ItemKey
from vader_bench.human.rehearsal.raters import Raters, even_raters, prefer
from vader_bench.stats.power import Variation

QUESTIONS = ("text", "quality")


def item(number: int, *, first_left: bool = True, **changes: Any) -> ItemKey:
    left, right = ARMS if first_left else ARMS[::-1]
    fields = {
        "id": f"item {number}", "role": "main", "prompt": f"prompt {number}", "sample": 0, "left": left,
        "right": right, "gold": None, "right_answer": None, "repeats": None,
    }  # fmt: skip
    return ItemKey.model_validate(fields | changes)


def even(**changes: object) -> Raters:
    return replace(even_raters(3, ARMS, QUESTIONS), **changes)  # type: ignore[arg-type]


def share_of_vader(raters: Raters, count: int = 3000) -> float:
    """Return how often vader wins over as many raters and prompts, a tie counting half."""
    scores = []
    for number in range(count):
        first_left = number % 2 == 0
        answer = raters.decide(f"r{number}", "b", item(number, first_left=first_left))["text"]
        scores.append(0.5 if answer == "T" else float((answer == "R") == first_left))
    return float(np.mean(scores))


@pytest.mark.parametrize("changes", [{}, {"lapse": 0.2, "side_bias": 0.6}, {"ties": 0.3}])
def test_the_planted_share_is_the_share_of_the_answers(changes: dict[str, float]) -> None:
    raters = prefer(even(**changes), "vader", 0.65)
    assert raters.share("text", "vader", "base") == pytest.approx(0.65, abs=1e-9)
    assert share_of_vader(raters) == pytest.approx(0.65, abs=4 * np.sqrt(0.25 / 3000))


def test_the_same_names_and_seed_give_the_same_answer_and_others_another() -> None:
    raters, other = even(), even(seed=4)
    items = [item(number) for number in range(50)]
    first = [raters.decide("r", "b", one) for one in items]
    assert first == [raters.decide("r", "b", one) for one in reversed(items)][::-1]
    assert first != [other.decide("r", "b", one) for one in items]
    assert first != [raters.decide("s", "b", one) for one in items]


def test_all_raters_share_the_taste_of_a_prompt_and_a_rater_has_one_for_all_prompts() -> None:
    wide = {"lapse": 0.0}
    by_prompt = even(variation=Variation(50.0, 0.0), **wide)
    said = [by_prompt.decide(f"r{n}", "b", item(0))["text"] for n in range(20)]
    assert len(set(said)) == 1
    assert len({by_prompt.decide("r", "b", item(n))["text"] for n in range(20)}) == 2
    by_rater = even(variation=Variation(0.0, 50.0), **wide)
    assert len({by_rater.decide("r", "b", item(n))["text"] for n in range(20)}) == 1
    assert len({by_rater.decide(f"r{n}", "b", item(0))["text"] for n in range(20)}) == 2


def test_a_pair_again_with_sides_swapped_gets_the_same_arm_from_one_who_is_sure() -> None:
    sure = even(variation=Variation(50.0, 0.0), lapse=0.0)
    for number in range(10):
        first = sure.decide("r", "b", item(number))["text"]
        again = sure.decide("r", "b", item(number, first_left=False, id="again"))["text"]
        assert {first, again} == {"L", "R"}


def test_a_side_bias_favours_the_left_whichever_arm_is_there() -> None:
    biased = even(side_bias=1.0)
    for first_left in (True, False):
        left = [
            biased.decide(f"r{n}", "b", item(n, first_left=first_left))["text"] == "L" for n in range(500)
        ]
        assert np.mean(left) == pytest.approx(0.7, abs=0.07)


def test_golds_are_answered_right_by_the_careful_only() -> None:
    gold: dict[str, Any] = {"role": "gold", "gold": "mismatch", "right_answer": "R"}
    careful = even(lapse=0.0, side_bias=3.0)
    assert {careful.decide(f"r{n}", "b", item(n, **gold))["quality"] for n in range(50)} == {"R"}
    careless = even(careless=1.0)
    answers = [careless.decide(f"r{n}", "b", item(n, **gold))["text"] for n in range(300)]
    assert np.mean([answer == "R" for answer in answers]) == pytest.approx(0.5, abs=0.1)


def test_as_many_are_careless_as_was_said_and_some_always_take_one_side() -> None:
    raters = even(careless=0.3)
    manners = [raters.manner(f"r{n}") for n in range(2000)]
    assert manners.count("careful") / 2000 == pytest.approx(0.7, abs=0.04)
    assert {*manners} == {"careful", "random", "left", "right"}
    leftist = f"r{manners.index('left')}"
    assert {raters.decide(leftist, "b", item(n))["text"] for n in range(20)} == {"L"}


def test_a_video_that_does_not_play_leaves_all_questions_open() -> None:
    answers = [even(broken=0.5).decide("r", "b", item(n)) for n in range(100)]
    unanswered = [answer for answer in answers if None in answer.values()]
    assert 30 < len(unanswered) < 70
    assert all(set(answer.values()) == {None} for answer in unanswered)


@pytest.mark.parametrize(
    ("change", "share", "arm", "message"),
    [
        ({}, 0.65, "wader", "did you mean 'vader'"),
        ({}, 1.2, "vader", "out of reach"),
        ({"lapse": 0.8}, 0.65, "vader", "nearer to 0.5"),
        ({"careless": 1.5}, 0.65, "vader", "is no share"),
        ({"side_bias": math.nan}, 0.65, "vader", "side_bias nan: is no number of log-odds"),
        ({"side_bias": math.inf}, 0.65, "vader", "side_bias inf: is no number of log-odds"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, float], share: float, arm: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prefer(even(**change), arm, share)
