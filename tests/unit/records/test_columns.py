"""Scores by column are the same scores, to the last bit, in a fraction of the bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support.results import Invented, make_record
from vader_bench.records.columns import by_columns, by_rows
from vader_bench.records.record import Record

SINGLE = float(np.float32(0.1))


def written(**changes: Any) -> dict[str, Any]:
    """Return a record as JSON says it, whose scores have ``changes``."""
    record = make_record(Invented(), "vader", "red", 1).model_dump(mode="json")
    for look in record["evaluations"]:
        look["scores"] = [score | changes for score in look["scores"]]
    return record


@pytest.mark.parametrize(
    "changes",
    [
        {"reward": SINGLE},
        {"reward": 0.1},  # no float32
        {"reward": 1e300, "gold": None},
        {"reward": -0.0, "prompt_share": 1e-45, "others": {"hps": SINGLE, "action": 0.1}},
    ],
)
def test_scores_are_what_they_were(changes: dict[str, Any]) -> None:
    record = written(**changes)
    again = by_rows(json.loads(json.dumps(by_columns(record))))
    assert Record.model_validate(again) == Record.model_validate(record)
    assert str(again["evaluations"][0]["scores"][0]["reward"]) == str(changes["reward"])


def test_float32_is_written_with_the_digits_that_numpy_writes() -> None:
    values = np.random.default_rng(0).normal(size=200).astype(np.float32)
    record = written()
    scores = [record["evaluations"][0]["scores"][0] | {"reward": float(value)} for value in values]
    record["evaluations"][0]["scores"] = scores
    column = by_columns(record)["evaluations"][0]["scores"]["columns"]["reward"]["float32"]
    assert [np.float32(value) for value in column] == list(values)
    assert [len(repr(value)) for value in column] == [len(repr(float(str(value)))) for value in values]


def test_a_score_that_some_videos_lack_is_lacking_in_them() -> None:
    record = written()
    first, *rest = record["evaluations"][0]["scores"]
    first |= {"gold": None, "others": {"hps": SINGLE}}
    found = by_rows(by_columns(record))["evaluations"][0]["scores"]
    assert (found[0]["gold"], found[0]["others"]) == (None, {"hps": SINGLE})
    assert [(score["gold"], score["others"]) for score in found[1:]] == [(old["gold"], {}) for old in rest]


def test_looks_at_the_same_videos_share_their_list() -> None:
    record = written()
    lists = {
        tuple((score["prompt"], score["sample"]) for score in look["scores"])
        for look in record["evaluations"]
    }
    assert len(by_columns(record)["videos"]) == len(lists) < len(record["evaluations"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda table: table["videos"].clear(), "list 0 of the videos, and there are 0"),
        (lambda table: table["videos"][0]["samples"].pop(), "shorter than"),
        (lambda table: table["videos"][0]["texts"].clear(), "another prompt than the 0"),
        (lambda table: table["evaluations"][0]["scores"]["columns"].pop("reward"), "reward"),
        (
            lambda table: table["evaluations"][0]["scores"]["columns"].update(reward=[0.5]),
            "reward has 1 values",
        ),
        (lambda table: table["evaluations"][0]["scores"]["columns"].update(extra=[]), "extra has 0 values"),
    ],
)
def test_damaged_columns_are_no_record(damage: Callable[[Any], object], message: str) -> None:
    table = by_columns(written())
    damage(table)
    with pytest.raises(ValueError, match=message):
        Record.model_validate(table)
