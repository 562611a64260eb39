"""Reading JSON, and nothing that could not be written as JSON again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

__all__ = ["NotJsonError", "parse_json"]

_DEEPEST = 100
"""Lists and tables of JSON inside each other; what reads and writes them fails at some hundreds."""


class NotJsonError(ValueError):
    """Why a text is no JSON that this program reads, in words that continue "it ..."."""


def parse_json(text: str, *, finite: bool = True) -> Any:
    """Return what the JSON ``text`` holds.

    Refused is, beside what is no JSON, what could not be written again: half a character, numbers of
    thousands of digits, what is nested a hundred times, and NaN and infinities where ``finite``.

    Raises:
        NotJsonError: with what is wrong.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}: " if "\n" in text else ""
        raise NotJsonError(f"is not JSON ({line}{error.msg})") from error
    except ValueError as error:  # Python converts no number of so many digits
        raise NotJsonError("holds a number of thousands of digits") from error
    except RecursionError as error:
        raise NotJsonError("is nested too deep") from error
    _require_plain(found, finite)
    if "\\ud" in text.lower():  # what there is no need to look for in most files
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise NotJsonError("has half a character in it") from error
    return found


def _require_plain(found: Any, finite: bool) -> None:
    """Refuse what is nested too deep, and where ``finite`` a number that is not."""
    level = [found]
    for _ in range(_DEEPEST):
        if finite and any(isinstance(item, float) and not math.isfinite(item) for item in level):
            raise NotJsonError("holds a number that is not finite")
        level = [item for one in level if isinstance(one, dict | list) for item in _items(one)]
        if not level:
            return
    raise NotJsonError("is nested too deep")


def _items(one: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return one.values() if isinstance(one, dict) else one
