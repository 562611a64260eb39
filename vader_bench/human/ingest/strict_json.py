"""JSON from people who may mean harm: one meaning or none."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

__all__ = ["DEPTH", "UnreadableError", "strict_json"]

DEPTH: Final = 16
"""Most brackets open at once."""
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
"""A string, also one that never ends: else each quote in it would be tried, in quadratic time."""
_DIGITS: Final = 18
"""Most digits of a whole number: Python refuses long ones, and none are meant."""


class UnreadableError(Exception):
    """Why something that a rater sent is no answer, in a few words that quote nothing of it."""


def strict_json(text: str) -> Any:
    """Return what ``text`` holds.

    Refused are, beside what is no JSON: a key twice in an object, NaN and infinities, numbers too large for
    a float and whole ones of more than 18 digits, more than 16 brackets open at once, and escapes that are
    no character (half a surrogate pair).

    Raises:
        UnreadableError: with a few words that continue "it ...".
    """
    if _depth(text) > DEPTH:
        raise UnreadableError("is nested too deeply")
    try:
        found = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_short,
        )
    except json.JSONDecodeError as error:
        raise UnreadableError(f"is not JSON ({error.msg} at character {error.pos + 1})") from None
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UnreadableError("has an incomplete character in it") from None
    return found


def _depth(text: str) -> int:
    deepest = depth = 0
    for character in _STRING.sub("", text):
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnreadableError("names a key twice")
    return found


def _no_constant(name: str) -> float:
    raise UnreadableError(f"holds {name}, which is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UnreadableError("holds a number that is too large")
    return value


def _short(text: str) -> int:
    if len(text) > _DIGITS:
        raise UnreadableError("holds a number that is too large")
    return int(text)
