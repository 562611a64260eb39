"""What a page sent for one block, checked to the last number: all of it is an answer, or none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from vader_bench.config.schema import Strict
from vader_bench.human.ingest.strict_json import UnreadableError, strict_json
from vader_bench.human.plan import StudyPlan
from vader_bench.human.responses import Consent, ItemAnswers

__all__ = ["BlockAnswers", "read_answers"]

VERSION: Final = 1
"""Of the answers that ``templates/task.js`` writes."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)

Count = Annotated[int, Field(ge=0, le=1_000_000)]
Pixels = Annotated[int, Field(ge=0, le=100_000)]
Seconds = Annotated[float, Field(ge=0, le=1_000_000)]
Dims = Annotated[list[Seconds | None], Field(min_length=3, max_length=3)]
"""Width, height and duration that the browser saw; JSON has ``null`` for an endless one."""
Share = Annotated[float, Field(ge=0, le=1)]
MediaError = Annotated[int, Field(ge=-1, le=4)]
"""Code of the browser's MediaError; -1 where it did not say."""


class _Item(Strict):
    id: str
    a: dict[str, Literal["L", "R", "T"] | None]
    ended: list[Count] = Field(min_length=2, max_length=2)
    frac: list[Share] = Field(min_length=2, max_length=2)
    err: list[MediaError] = Field(min_length=2, max_length=2)
    dims: list[Dims] = Field(min_length=2, max_length=2)
    blur: Count
    problem: Annotated[int, Field(ge=0, le=1)]
    ms: Annotated[int, Field(ge=0, le=1_000_000_000)]


class _Consent(Strict):
    version: str
    at: str


class _Answers(Strict):
    v: Annotated[int, Field(ge=VERSION, le=VERSION)]
    consent: _Consent | None
    screen: list[Pixels] = Field(min_length=2, max_length=2)
    items: list[_Item]


class BlockAnswers(Strict):
    """What one page sent, all of it checked."""

    consent: Consent
    screen: list[int]
    items: list[ItemAnswers]
    """In the order of the key."""


def read_answers(text: str, plan: StudyPlan, ids: Sequence[str]) -> BlockAnswers:
    """Return the answers in the field ``answers_json``, version 1.

    Args:
        text: the field.
        plan: the plan of the study.
        ids: the pairs of the block, in the order they are shown.

    Raises:
        UnreadableError: the first thing that is wrong, in words that quote nothing of ``text``, as it may
            hold an account's name.
    """
    if not text.strip():
        raise UnreadableError("it holds no answers")
    try:
        sent = _Answers.model_validate(strict_json(text))
    except ValidationError as error:
        raise UnreadableError(_told(error.errors(include_url=False, include_input=False)[0])) from None
    except UnreadableError as error:
        raise UnreadableError(f"answers_json {error}") from None
    _check_ids([item.id for item in sent.items], ids)
    return BlockAnswers(
        consent=_consent(sent.consent, plan.consent.version),
        screen=sent.screen,
        items=[_item(item, place, plan) for place, item in enumerate(sent.items, start=1)],
    )


def _told(error: ErrorDetails) -> str:
    """Return a fault in words, with those keys only that the page knows."""
    match error["type"]:
        case "extra_forbidden":
            return "answers_json has a key that the page does not write"
        case "missing":
            wrong = "is missing"
        case "literal_error":
            wrong = "is no option"
        case "too_short" | "too_long":
            wrong = "has the wrong number of values"
        case "less_than_equal" | "greater_than_equal":
            wrong = "is out of range"
        case _:
            wrong = "is of the wrong type"
    where = [part for part in error["loc"] if isinstance(part, int) or part in _KNOWN]
    if where[:1] == ["items"] and len(where) > 1:
        where[:2] = [f"pair {int(where[1]) + 1}"]
    return f"answers_json: {' '.join(map(str, where)) or 'it'} {wrong}"


_KNOWN = {*_Answers.model_fields, *_Item.model_fields, *_Consent.model_fields}


def _check_ids(found: Sequence[str], wanted: Sequence[str]) -> None:
    if list(found) == list(wanted):
        return
    if Counter(found) == Counter(wanted):
        raise UnreadableError("its pairs are not in the order of the block")
    strange = sum((Counter(found) - Counter(wanted)).values())
    lacking = sum((Counter(wanted) - Counter(found)).values())
    raise UnreadableError(
        f"its pairs are not those of the block: {lacking} lacking, {strange} too many or unknown"
    )


def _consent(given: _Consent | None, version: str) -> Consent:
    if given is None:
        raise UnreadableError("it was sent without consent")
    if given.version != version:
        raise UnreadableError("the consent is to another version of the text than the plan's")
    if not _is_time(given.at):
        raise UnreadableError("the time of the consent is no time")
    return Consent(version=given.version, at=given.at)


def _is_time(text: str) -> bool:
    if not _TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _item(item: _Item, place: int, plan: StudyPlan) -> ItemAnswers:
    questions = [question.id for question in plan.questions]
    if set(item.a) != set(questions):
        raise UnreadableError(f"pair {place}: its answers are not to the questions of the plan")
    if "T" in item.a.values() and not plan.ties:
        raise UnreadableError(f"pair {place}: 'about the same' is no option of this study")
    missing = [answer is None for answer in item.a.values()]
    if item.problem and not all(missing):
        raise UnreadableError(f"pair {place}: it is answered although a video is said not to play")
    if not item.problem and any(missing):
        raise UnreadableError(f"pair {place}: an answer is missing although no video is said not to play")
    return ItemAnswers(
        id=item.id,
        answers={question: item.a[question] for question in questions},
        ended=item.ended,
        watched=item.frac,
        errors=item.err,
        blurs=item.blur,
        problem=bool(item.problem),
        milliseconds=item.ms,
    )
