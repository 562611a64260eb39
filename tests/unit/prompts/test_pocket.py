"""The pocket sets hold what their splits promise, evenly."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vader_bench.pocket.vocabulary import ACTIONS, COLOURS, NOUNS, SCENES, Caption, parse_caption
from vader_bench.prompts import pocket as grammar
from vader_bench.prompts.sets import PromptSet, load_prompts

ORDINARY = ("train", "heldout", "dev_train", "dev_heldout")
SETS = {"pocket": ACTIONS, "pocket-books": ACTIONS, "pocket-looks": grammar.LOOKS}
NOUNS_OF = {"pocket": NOUNS, "pocket-looks": NOUNS, "pocket-books": [n for n in NOUNS if n != "book"]}


@pytest.fixture(params=SETS)
def prompts(request: pytest.FixtureRequest) -> PromptSet:
    return load_prompts(request.param)


def captions(prompts: PromptSet, *splits: str) -> list[Caption]:
    found = [parse_caption(prompt) for split in splits for prompt in prompts.split(split)]
    prop = "book" if prompts.name == "pocket-books" else None
    assert all(caption is not None and caption.prop_noun == prop for caption in found)
    return [caption for caption in found if caption is not None]


def test_sizes() -> None:
    sizes = {name: {k: len(v) for k, v in load_prompts(name).splits.items()} for name in SETS}
    pocket = {"train": 48, "heldout": 96, "composition": 32, "noun": 32, "dev_train": 24, "dev_heldout": 48}
    looks = {"train": 16, "heldout": 96, "composition": 20, "noun": 20, "dev_train": 16, "dev_heldout": 48}
    books = {"train": 24, "heldout": 24, "composition": 16, "noun": 16, "dev_train": 16, "dev_heldout": 16}
    assert sizes == {"pocket": pocket, "pocket-books": books, "pocket-looks": looks}


@pytest.mark.parametrize(
    ("name", "split", "digest"),
    [
        ("pocket", "heldout", "2286f43dae8ef77e5cd8b86152dae5091acb887267666bcf08fd790f5cbda302"),
        ("pocket", "dev_heldout", "c06111520d96304df1000245e81eda9002dd7c0ab6163aa267fa54ba7224f23f"),
        ("pocket-looks", "heldout", "9c545d16c9c14ffcaae375c1d010a1743ffe5c7d764fef1ddf309d07e45792af"),
        ("pocket-looks", "dev_heldout", "a013aa53ad18b2091c5aedcef950dcf0acb7df70fa8d937d70b229cf144b0ccd"),
    ],
)
def test_splits_that_were_lengthened_begin_with_what_they_were(name: str, split: str, digest: str) -> None:
    first = load_prompts(name).split(split)[: grammar.FIRST_SIZES[name][split]]
    assert PromptSet(name, {split: first}).digests()[split] == digest


def test_held_out_pairs_are_spread_over_actions_and_nouns() -> None:
    assert set(Counter(action for _, action in grammar.HELD_OUT_PAIRS).values()) == {2}
    assert set(Counter(noun for noun, _ in grammar.HELD_OUT_PAIRS).values()) == {1, 2}
    looks = [(noun, action) for noun, action in grammar.HELD_OUT_PAIRS if action in grammar.LOOKS]
    assert set(Counter(noun for noun, _ in looks).values()) == {1}


def test_new_nouns_are_in_their_split_alone(prompts: PromptSet) -> None:
    new = {caption.noun for caption in captions(prompts, "noun")}
    others = {caption.noun for caption in captions(prompts, *ORDINARY, "composition")}
    assert new == {"maltese", "rocket"}
    assert others == set(NOUNS_OF[prompts.name]) - new


def test_compositions_are_in_their_split_alone_but_made_of_known_words(prompts: PromptSet) -> None:
    seen = captions(prompts, *ORDINARY)
    new = captions(prompts, "composition")
    assert not {(c.noun, c.action) for c in new} & {(c.noun, c.action) for c in seen}
    trained = captions(prompts, "train")
    assert {c.noun for c in new} <= {c.noun for c in trained}
    assert {c.action for c in new} <= {c.action for c in trained}


@pytest.mark.parametrize("split", [*ORDINARY, "composition", "noun"])
def test_words_are_balanced(prompts: PromptSet, split: str) -> None:
    found = captions(prompts, split)
    actions = SETS[prompts.name]
    nouns = len({c.noun for c in found})
    for words, kinds, slack in (
        ([c.colour for c in found], len(COLOURS), 1),
        ([c.scene for c in found], len(SCENES), 1),
        ([c.action for c in found], len(actions), 1),
        # a composition's noun comes with one or two actions only
        ([c.noun for c in found], nouns, 2 if split == "composition" else 1),
    ):
        counts = Counter(words)
        assert len(counts) == kinds
        assert max(counts.values()) - min(counts.values()) <= slack, counts


def test_beginnings_are_balanced_too() -> None:
    for split in ("train", "heldout", "composition", "noun"):
        found = captions(load_prompts("pocket"), split)[:8]
        assert len({c.action for c in found}) == 8, split


def test_development_prompts_are_used_for_nothing_else() -> None:
    sets = {name: load_prompts(name) for name in SETS}
    tuned = {p for s in sets.values() for split in ("dev_train", "dev_heldout") for p in s.split(split)}
    rest = {p for s in sets.values() for split in s.splits if "dev" not in split for p in s.split(split)}
    assert not tuned & rest


def test_no_two_sets_share_a_sentence() -> None:
    sentences = [p for name in SETS for members in load_prompts(name).splits.values() for p in members]
    assert len(set(sentences)) == len(sentences)


def test_books_have_another_colour_than_the_actor_and_all_colours_alike() -> None:
    prompts = load_prompts("pocket-books")
    for split in prompts.splits:
        found = captions(prompts, split)
        assert all(c.noun != "book" and c.prop_colour != c.colour for c in found)
        counts = Counter(c.prop_colour for c in found)
        assert set(counts) == set(COLOURS)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_balanced_draw_uses_each_word_before_any_again() -> None:
    pool = [Caption(c, n, "spinning", s) for c in "ab" for n in "xy" for s in "pq"]
    drawn = grammar._draw_balanced(pool, 4, np.random.default_rng(0))
    assert len(set(drawn)) == 4
    for word in ("colour", "noun", "scene"):
        assert set(Counter(getattr(c, word) for c in drawn).values()) == {2}
    assert drawn[0].colour != drawn[1].colour
    assert drawn[0].noun != drawn[1].noun


def test_dogs_train_on_one_breed_and_hold_out_the_other() -> None:
    prompts = load_prompts("pocket-dogs")
    sizes = {name: len(members) for name, members in prompts.splits.items()}
    assert sizes == {
        "train": 32, "heldout": 32, "composition": 24, "noun": 32, "dev_train": 16, "dev_heldout": 16,
    }  # fmt: skip
    assert {c.noun for c in captions(prompts, "noun")} == {"maltese"}
    assert {c.noun for c in captions(prompts, *ORDINARY, "composition")} == {"labrador"}


def test_dogs_of_a_new_composition_have_a_colour_and_an_action_that_were_never_together() -> None:
    prompts = load_prompts("pocket-dogs")
    seen, new = captions(prompts, *ORDINARY), captions(prompts, "composition")
    assert {(c.colour, c.action) for c in new} == grammar.HELD_OUT_COATS
    assert not {(c.colour, c.action) for c in seen} & grammar.HELD_OUT_COATS
    assert set(Counter(action for _, action in grammar.HELD_OUT_COATS)) == set(ACTIONS)
    assert len(grammar.HELD_OUT_COATS) == len(ACTIONS)


@pytest.mark.parametrize("split", [*ORDINARY, "composition", "noun"])
def test_dogs_are_balanced(split: str) -> None:
    found = captions(load_prompts("pocket-dogs"), split)
    for words, kinds in (
        ([c.colour for c in found], len(COLOURS)),
        ([c.scene for c in found], len(SCENES)),
        ([c.action for c in found], len(ACTIONS)),
    ):
        counts = Counter(words)
        assert len(counts) == kinds
        # a colour has one or two of the held-out compositions
        slack = 3 if split == "composition" else 1
        assert max(counts.values()) - min(counts.values()) <= slack, counts
