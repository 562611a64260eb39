"""The words of the pocket world: what a caption can say, and how it is written."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["ACTIONS", "COLOURS", "NOUNS", "SCENES", "Caption", "format_caption", "parse_caption"]

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
NOUNS = (
    "labrador", "maltese", "cat", "rabbit", "bird", "fish",
    "car", "bus", "boat", "rocket", "book", "cup",
)  # fmt: skip
ACTIONS = (
    "moving left", "moving right", "jumping", "spinning",
    "growing", "shrinking", "flapping", "blinking",
)  # fmt: skip
SCENES = ("in the park", "on the beach", "in the snow", "at night", "in the desert", "in a room")


@dataclass(frozen=True)
class Caption:
    """What a clip shows: an actor that does something somewhere, perhaps beside a resting prop."""

    colour: str
    noun: str
    action: str
    scene: str
    prop_colour: str | None = None
    prop_noun: str | None = None


_ACTOR = rf"an? ({'|'.join(COLOURS)}) ({'|'.join(NOUNS)})"
_PATTERN = re.compile(rf"{_ACTOR} ({'|'.join(ACTIONS)})(?: beside {_ACTOR})? ({'|'.join(SCENES)})")


def format_caption(caption: Caption) -> str:
    """Return the sentence for ``caption``."""
    text = f"{_actor(caption.colour, caption.noun)} {caption.action}"
    if caption.prop_colour is not None and caption.prop_noun is not None:
        text += f" beside {_actor(caption.prop_colour, caption.prop_noun)}"
    return f"{text} {caption.scene}"


def parse_caption(text: str) -> Caption | None:
    """Return what ``text`` says, or ``None`` where it is not a sentence of the pocket world."""
    match = _PATTERN.fullmatch(" ".join(text.lower().split()))
    if match is None:
        return None
    colour, noun, action, prop_colour, prop_noun, scene = match.groups()
    return Caption(colour, noun, action, scene, prop_colour, prop_noun)


def _actor(colour: str, noun: str) -> str:
    article = "an" if colour[0] in "aeiou" else "a"
    return f"{article} {colour} {noun}"
