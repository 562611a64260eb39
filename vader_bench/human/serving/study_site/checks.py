"""What comes from outside, checked. Needs neither Django nor Turkle."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = [
    "FIELDS", "PROLIFIC_IDS", "byte_span", "is_answer", "is_id", "is_preview", "listed", "prolific_ids",
]  # fmt: skip

PROLIFIC_IDS: Final = ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")
"""Parameters that Prolific puts behind the address of a study."""
FIELDS: Final = ("block_id", "answers_json")
"""What the page of a block posts, beside Django's own field."""
LONGEST: Final = 100_000
"""Most characters of an answer; forty pairs take a tenth of it. Python's csv reads cells of 131,072."""


def prolific_ids(parameters: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Return person, study and session in lower case, or ``None`` unless each is 24 hexadecimal digits."""
    person, study, session = (parameters.get(name, "") for name in PROLIFIC_IDS)
    if not all(map(is_id, (person, study, session))):
        return None
    return person.lower(), study.lower(), session.lower()


def is_preview(parameters: Mapping[str, str]) -> bool:
    """Tell whether someone looks at the study from its form on Prolific.

    Then the parameters are there and hold what Prolific puts in place of ids, which nothing is known of but
    that a participant's ids look otherwise, or the placeholders themselves.
    """
    values = [parameters.get(name, "") for name in PROLIFIC_IDS]
    complete = all(re.fullmatch(r"[A-Za-z0-9._{}%-]{1,100}", value) for value in values)
    return complete and not all(map(is_id, values))


def is_id(text: str) -> bool:
    """Tell whether a text is an id as Prolific gives them, in letters of either size."""
    return re.fullmatch(r"[0-9a-fA-F]{24}", text) is not None


def listed(text: str) -> list[str]:
    """Return the lines of a list of people in lower case, empty ones too."""
    return [line.strip().lower() for line in text.splitlines()]


def is_answer(posted: Mapping[str, Sequence[str]], block: str) -> bool:
    """Tell whether a form holds the answers to ``block`` and nothing else.

    Args:
        posted: all values of each field.
        block: id of the block that was handed out.
    """
    given = {name: values for name, values in posted.items() if name != "csrfmiddlewaretoken"}
    if set(given) != set(FIELDS) or any(len(values) != 1 for values in given.values()):
        return False
    if len(given["answers_json"][0]) > LONGEST:
        return False
    try:
        answers = json.loads(given["answers_json"][0])
    except (ValueError, RecursionError):
        return False
    return given["block_id"][0] == block and isinstance(answers, dict)


def byte_span(header: str | None, size: int) -> tuple[int, int] | None:
    """Return which bytes a ``Range`` header asks for, the last one not counted; RFC 9110, 14.1.2.

    Safari plays no video from a server that cannot send a part of it.

    Args:
        header: the header; none, or one of a form that is not known, is all of the file.
        size: bytes of the file.

    Returns:
        First byte and the one behind the last; ``None`` if there are no such bytes.
    """
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header or "", re.ASCII)
    if found is None or found.group() == "bytes=-":
        return 0, size
    first, last = found.groups()
    if not first:
        return (max(0, size - int(last)), size) if int(last) else None
    start, stop = int(first), min(size, int(last) + 1) if last else size
    if last and int(last) < start:
        return 0, size
    return (start, stop) if start < size else None
