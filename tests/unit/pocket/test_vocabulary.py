"""Captions are written and read back without loss."""

from __future__ import annotations

import itertools

import pytest

from vader_bench.pocket.vocabulary import (
    ACTIONS,
    COLOURS,
    NOUNS,
    SCENES,
    Caption,
    format_caption,
    parse_caption,
)


def test_every_single_actor_caption_is_read_back() -> None:
    for words in itertools.product(COLOURS, NOUNS, ACTIONS, SCENES):
        caption = Caption(*words)
        assert parse_caption(format_caption(caption)) == caption


def test_a_prop_is_read_back() -> None:
    caption = Caption("orange", "cat", "moving left", "at night", "blue", "cup")
    text = format_caption(caption)
    assert text == "an orange cat moving left beside a blue cup at night"
    assert parse_caption(text) == caption


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a cat spinning in the park",
        "a red cat spinning",
        "a red cat singing in the park",
        "a red cat spinning in the park at night",
        "see a red cat spinning in the park",
    ],
)
def test_other_sentences_are_not_captions(text: str) -> None:
    assert parse_caption(text) is None


def test_case_and_spaces_do_not_matter() -> None:
    assert parse_caption("  A Red  cat spinning in the park ") == Caption(
        "red", "cat", "spinning", "in the park"
    )
