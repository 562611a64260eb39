"""The grammar of the pocket prompt sets: which sentences belong to which split, and how they are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np

from vader_bench.pocket.vocabulary import ACTIONS, COLOURS, NOUNS, SCENES, Caption, format_caption
from vader_bench.prompts.sets import PromptSet
from vader_bench.seeding import numpy_stream

__all__ = [
    "DOGS", "FIRST_SIZES", "HELD_OUT_COATS", "HELD_OUT_NOUNS", "HELD_OUT_PAIRS", "LOOKS", "pocket",
    "pocket_books", "pocket_dogs", "pocket_looks",
]  # fmt: skip

HELD_OUT_NOUNS = ("maltese", "rocket")
"""Nouns of the split ``noun`` and of no other: one animal, one vehicle."""
LOOKS = ("growing", "shrinking", "flapping", "blinking", "spinning")
"""Actions that show in the look of the frames and not in where the actor is."""

_SEEN_NOUNS = tuple(noun for noun in NOUNS if noun not in HELD_OUT_NOUNS)

HELD_OUT_PAIRS = frozenset(
    (_SEEN_NOUNS[(index + shift) % len(_SEEN_NOUNS)], action)
    for index, action in enumerate(ACTIONS)
    for shift in (0, 5)
)
"""(noun, action) pairs of the split ``composition`` and of no other: two an action, one or two a noun."""

DOGS = ("labrador", "maltese")
"""The breed of the set ``pocket-dogs`` that methods train on, and that of its split ``noun``."""
HELD_OUT_COATS = frozenset((COLOURS[index % len(COLOURS)], action) for index, action in enumerate(ACTIONS))
"""(colour, action) pairs of ``composition`` in ``pocket-dogs``: one an action, one or two a colour."""

_ROOT = 20240711
"""Root seed of the packaged sets. Another one would make other sets, and old results would not compare."""
FIRST_SIZES = {
    "pocket": {"train": 48, "heldout": 48, "composition": 32, "noun": 32, "dev_train": 24, "dev_heldout": 24},
    "pocket-looks": {
        "train": 16, "heldout": 32, "composition": 20, "noun": 20, "dev_train": 16, "dev_heldout": 16,
    },
}  # fmt: skip
"""Of the splits that were drawn first. The models that come with the package were made and measured when
there were no others."""
_LENGTHENED = {"heldout": 96, "dev_heldout": 48}
"""Splits that have more prompts since. These are drawn last and come last: all others are what they were, and
older results are of the first ones."""

_Splits = dict[str, list[Caption]]


def pocket() -> PromptSet:
    """Return the prompts of the pocket suite, about all actions."""
    return _sentences("pocket", _about_actions()["pocket"])


def pocket_looks() -> PromptSet:
    """Return the prompts about actions that show in the look of a frame; none of them is in ``pocket``."""
    return _sentences("pocket-looks", _about_actions()["pocket-looks"])


def _about_actions() -> dict[str, _Splits]:
    """Draw ``pocket`` and ``pocket-looks``, which share no sentence, and then what lengthens their splits."""
    actions = {"pocket": ACTIONS, "pocket-looks": LOOKS}
    sets = dict[str, _Splits]()
    for name, sizes in FIRST_SIZES.items():
        sets[name] = _draw_captions(name, actions[name], sizes, _sentences_of(sets))
    for name, (split, size) in product(sets, _LENGTHENED.items()):
        free = _free(NOUNS, actions[name], _belongs, split, _sentences_of(sets))
        stream = numpy_stream(_ROOT, name, split, "lengthened")
        sets[name][split] = _draw_balanced(free, size, stream, sets[name][split])
    return sets


def pocket_books() -> PromptSet:
    """Return prompts about actors, none of them a book, beside a book that rests there in another colour."""
    sizes = {"train": 24, "heldout": 24, "composition": 16, "noun": 16, "dev_train": 16, "dev_heldout": 16}
    without = [noun for noun in NOUNS if noun != "book"]
    drawn = _draw_captions("pocket-books", ACTIONS, sizes, taken=(), nouns=without)
    splits = {split: _beside_books(split, captions) for split, captions in drawn.items()}
    return PromptSet("pocket-books", splits)


def _beside_books(split: str, captions: Sequence[Caption]) -> list[str]:
    """Return the sentences of ``captions`` with a book in each, whose colours are used evenly."""
    turns = numpy_stream(_ROOT, "pocket-books", split, "colours").permutation(len(COLOURS) - 1)
    seen: Counter[str] = Counter()
    sentences = []
    for caption in captions:
        start = COLOURS.index(caption.colour)
        others = [COLOURS[(start + 1 + int(turn)) % len(COLOURS)] for turn in turns]
        colour = min(others, key=seen.__getitem__)
        seen[colour] += 1
        sentences.append(format_caption(replace(caption, prop_colour=colour, prop_noun="book")))
    return sentences


def pocket_dogs() -> PromptSet:
    """Return the prompts of the image-to-video suite: one breed of dog to train on, another to test on.

    The paper's (arXiv:2407.08737) image-to-video experiment does so, with pictures for prompts. These are
    captions, of whose clips the first frames are the pictures.
    """
    sizes = {"train": 32, "heldout": 32, "composition": 24, "noun": 32, "dev_train": 16, "dev_heldout": 16}
    return _sentences("pocket-dogs", _draw_captions("pocket-dogs", ACTIONS, sizes, (), DOGS, _dog_belongs))


def _belongs(caption: Caption, split: str) -> bool:
    """Tell whether ``caption`` may be in ``split`` of the sets about all nouns."""
    new_noun = caption.noun in HELD_OUT_NOUNS
    composition = (caption.noun, caption.action) in HELD_OUT_PAIRS
    return _fits(split, new_noun=new_noun, composition=composition)


def _dog_belongs(caption: Caption, split: str) -> bool:
    """Tell whether ``caption`` may be in ``split`` of the set about dogs."""
    new_noun, composition = caption.noun == DOGS[1], (caption.colour, caption.action) in HELD_OUT_COATS
    return _fits(split, new_noun=new_noun, composition=composition and not new_noun)


def _fits(split: str, *, new_noun: bool, composition: bool) -> bool:
    return new_noun == (split == "noun") and composition == (split == "composition")


def _sentences(name: str, drawn: Mapping[str, Sequence[Caption]]) -> PromptSet:
    return PromptSet(name, {split: list(map(format_caption, captions)) for split, captions in drawn.items()})


def _sentences_of(sets: Mapping[str, _Splits]) -> set[str]:
    return {format_caption(c) for splits in sets.values() for captions in splits.values() for c in captions}


def _draw_captions(
    name: str,
    actions: Sequence[str],
    sizes: dict[str, int],
    taken: Iterable[str],
    nouns: Sequence[str] = NOUNS,
    belongs: Callable[[Caption, str], bool] = _belongs,
) -> _Splits:
    """Draw the splits one after the other, without a sentence of ``taken`` or of an earlier split."""
    used = set(taken)
    splits: _Splits = {}
    for split, size in sizes.items():
        free = _free(nouns, actions, belongs, split, used)
        splits[split] = _draw_balanced(free, size, numpy_stream(_ROOT, name, split))
        used.update(map(format_caption, splits[split]))
    return splits


def _free(
    nouns: Sequence[str],
    actions: Sequence[str],
    belongs: Callable[[Caption, str], bool],
    split: str,
    used: Container[str],
) -> list[Caption]:
    """Return the captions that may be in ``split`` and whose sentences are not ``used``."""
    captions = [Caption(*words) for words in product(COLOURS, nouns, actions, SCENES)]
    return [c for c in captions if belongs(c, split) and format_caption(c) not in used]


def _draw_balanced(
    captions: Sequence[Caption], count: int, stream: np.random.Generator, first: Sequence[Caption] = ()
) -> list[Caption]:
    """Return ``first`` and more, ``count`` in all, each the caption whose words, then pairs, were used least.

    Every beginning of the list is balanced too, so a look at the first prompts of a split is fair. Ties
    are broken by the order drawn from ``stream``.
    """
    parts = [_parts(caption) for caption in captions]
    free = stream.permutation(len(captions)).tolist()
    chosen = list(first)
    seen = Counter(words for caption in first for group in _parts(caption) for words in group)

    def crowding(index: int) -> tuple[int, int]:
        words, pairs = parts[index]
        return sum([seen[word] ** 2 for word in words]), sum([seen[pair] for pair in pairs])

    while len(chosen) < count:
        index = min(free, key=crowding)
        free.remove(index)
        chosen.append(captions[index])
        seen.update(parts[index].words)
        seen.update(parts[index].pairs)
    return chosen


class _Parts(NamedTuple):
    words: tuple[tuple[str, ...], ...]
    pairs: tuple[tuple[str, ...], ...]


def _parts(caption: Caption) -> _Parts:
    """Return the words of ``caption`` and the pairs of them whose balance matters."""
    colour, noun, action, scene = caption.colour, caption.noun, caption.action, caption.scene
    return _Parts(
        words=((colour,), (noun,), (action,), (scene,)),
        pairs=((noun, action), (colour, noun), (action, scene), (colour, action)),
    )
