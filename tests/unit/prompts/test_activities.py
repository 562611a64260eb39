"""The paper's activity prompts: 45 animals, three activities, right articles."""

from __future__ import annotations

import pytest

from vader_bench.prompts.activities import ACTIVITIES, ANIMALS, activities, with_article
from vader_bench.prompts.sets import normalise


def test_every_animal_does_every_activity_once() -> None:
    heldout = activities().split("heldout")
    assert len(heldout) == len(set(heldout)) == 45 * 3
    for activity in ACTIVITIES:
        assert sum(prompt.endswith(f" {activity}") for prompt in heldout) == 45


def test_animals_are_sorted_and_distinct() -> None:
    assert len(ANIMALS) == 45
    assert list(ANIMALS) == sorted(set(ANIMALS))


@pytest.mark.parametrize(("noun", "phrase"), [("ant", "an ant"), ("owl", "an owl"), ("wolf", "a wolf")])
def test_article(noun: str, phrase: str) -> None:
    assert with_article(noun) == phrase
    assert f"{phrase} playing chess" in activities().split("heldout")


def test_training_sentences_are_people_in_other_actions() -> None:
    train = [normalise(prompt) for prompt in activities().split("train")]
    assert len(set(train)) == 50
    words = {word for prompt in train for word in prompt.split()}
    assert not words & {"bike", "chess", "dishes"}
