"""The scores of a record as its file has them: by column, with every list of videos written once.

In memory a score is a row (``record.VideoScore``). Most of a file would be the prompts, again at every look,
and the 17 digits of numbers that models compute with 8. So looks at the same videos share one list of them,
and a column that holds float32 numbers alone is written with the digits that these need. Nothing is lost.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from vader_bench.records.upgrade import with_looks

__all__ = ["by_columns", "by_rows"]

_Table = Mapping[str, Any]
_NOT_COLUMNS: Final = {"prompt", "sample", "others"}
"""Of a score: what the list of videos says, and the scores that have names of their own."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Videos(_Part):
    """The videos of a look, in its order."""

    texts: list[str]
    """Every prompt once."""
    prompts: list[int]
    """By video, which of ``texts``."""
    samples: list[int]

    @classmethod
    def of(cls, scores: Sequence[_Table]) -> _Videos:
        texts = list(dict.fromkeys(score["prompt"] for score in scores))
        places = {text: place for place, text in enumerate(texts)}
        prompts = [places[score["prompt"]] for score in scores]
        return cls(texts=texts, prompts=prompts, samples=[score["sample"] for score in scores])

    def named(self) -> list[dict[str, Any]]:
        """Return what a score says of its video, by video.

        Raises:
            ValueError: there is no such text, or not as many prompts as samples.
        """
        if any(not 0 <= place < len(self.texts) for place in self.prompts):
            raise ValueError(f"a video has another prompt than the {len(self.texts)} of its list")
        pairs = zip(self.prompts, self.samples, strict=True)
        return [{"prompt": self.texts[place], "sample": sample} for place, sample in pairs]


class _Singles(_Part):
    """Numbers of float32, each with the fewest digits that mean it and no other float32."""

    float32: list[float | None]

    @classmethod
    def of(cls, values: Sequence[float | None]) -> _Singles:
        return cls(float32=[None if value is None else _shortest(value) for value in values])

    @property
    def values(self) -> list[float | None]:
        """Return them as they were."""
        return [None if value is None else _single(value) for value in self.float32]


_Column = _Singles | list[float | None]


class _Scores(_Part):
    """The scores of a look. A column that no video has a value of is left out."""

    videos: int
    """Which of the record's lists of videos."""
    columns: dict[str, _Column] = Field(default={})
    others: dict[str, _Column] = Field(default={})


def by_columns(record: _Table) -> dict[str, Any]:
    """Return ``record``, as JSON says a ``Record``, with its scores by column."""
    lists: list[_Videos] = []

    def look(evaluation: _Table) -> dict[str, Any]:
        return {**evaluation, "scores": _columns(evaluation["scores"], lists)}

    changed = with_looks(record, look)
    return {**changed, "videos": [videos.model_dump() for videos in lists]}


def by_rows(record: _Table) -> dict[str, Any]:
    """Return a record that a file has by column with a row a score; one with rows is what it was.

    Raises:
        ValueError: columns are missing, or not as long as the look's list of videos.
    """
    if "videos" not in record:
        return {**record}
    lists = TypeAdapter(list[_Videos]).validate_python(record["videos"])

    def look(evaluation: _Table) -> dict[str, Any]:
        return {**evaluation, "scores": _rows(_Scores.model_validate(evaluation.get("scores")), lists)}

    changed = with_looks(record, look)
    del changed["videos"]
    return changed


def _columns(scores: Sequence[_Table], lists: list[_Videos]) -> dict[str, Any]:
    videos = _Videos.of(scores)
    if videos not in lists:
        lists.append(videos)
    measured = [{name: score[name] for name in score.keys() - _NOT_COLUMNS} for score in scores]
    others = [score["others"] for score in scores]
    found = _Scores(videos=lists.index(videos), columns=_by_name(measured), others=_by_name(others))
    return found.model_dump(exclude_defaults=True)


def _by_name(rows: Sequence[Mapping[str, float | None]]) -> dict[str, _Column]:
    """Return the column of every name that has a value in any of ``rows``."""
    names = sorted({name for row in rows for name, value in row.items() if value is not None})
    return {name: _column([row.get(name) for row in rows]) for name in names}


def _column(values: list[float | None]) -> _Column:
    single = all(value is None or _single(value) == value for value in values)
    return _Singles.of(values) if single else values


def _rows(scores: _Scores, lists: Sequence[_Videos]) -> list[dict[str, Any]]:
    if not 0 <= scores.videos < len(lists):
        raise ValueError(f"a look is at list {scores.videos} of the videos, and there are {len(lists)}")
    videos = lists[scores.videos].named()
    columns = {name: _values(column) for name, column in scores.columns.items()}
    others = {name: _values(column) for name, column in scores.others.items()}
    for name, column in (*columns.items(), *others.items()):
        if len(column) != len(videos):
            raise ValueError(f"{name} has {len(column)} values for {len(videos)} videos")
    return [
        {
            **video,
            **{name: column[index] for name, column in columns.items()},
            "others": {name: column[index] for name, column in others.items() if column[index] is not None},
        }
        for index, video in enumerate(videos)
    ]


def _values(column: _Column) -> list[float | None]:
    return column.values if isinstance(column, _Singles) else column


def _single(value: float) -> float:
    """Return the float32 nearest to ``value``: infinity where it is larger than all of them."""
    try:
        found: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return float("inf")
    return found


def _shortest(value: float) -> float:
    """Return the number of fewest digits whose nearest float32 is ``value``: 9 digits always do."""
    return next(found for digits in range(1, 10) if _single(found := float(f"{value:.{digits}g}")) == value)
