"""Runs share a table only where they read the same."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.results import Invented, make_record
from vader_bench.errors import UserError
from vader_bench.records.inputs import most_common, other_inputs, require_same_inputs
from vader_bench.records.record import Record

WORLD = Invented(adapters=("published",))
READ = {
    "weights/unet": "1",
    "prompts/train": "2",
    "prompts/heldout": "3",
    "prompts/noun": "4",
    "code": "5",
}
"""Looked at are ``train``, ``heldout`` and ``composition``."""


def record(method: str = "vader", seed: int = 0, **digests: str) -> Record:
    """A run that read ``READ`` but for ``digests``, whose names have ``_`` in place of ``/``."""
    changes = {name.replace("_", "/"): value for name, value in digests.items()}
    return make_record(WORLD, method, "red", seed).model_copy(update={"digests": READ | changes})


@pytest.mark.parametrize("name", ["weights/unet", "prompts/train", "prompts/heldout"])
def test_weights_and_prompts_that_were_used_count(name: str) -> None:
    assert other_inputs(record(), READ | {name: "9"}) == (name,)


@pytest.mark.parametrize("name", ["prompts/noun", "code", "adapter", "weights/new"])
def test_what_was_not_used_or_not_written_down_does_not_count(name: str) -> None:
    assert other_inputs(record(adapter="7"), READ | {name: "9"}) == ()
    assert other_inputs(record(), {}) == ()


def test_prompts_to_train_on_count_only_where_they_were_used() -> None:
    for method, expected in {"vader": ("prompts/train",), "base": (), "published": ()}.items():
        run = record(method)
        looked_at = [look for look in run.evaluations if look.split == "heldout"]
        asked = run.model_copy(update={"evaluations": looked_at})
        assert other_inputs(asked, READ | {"prompts/train": "9"}) == expected


def test_the_most_common_value_is_the_most_frequent_and_then_the_first() -> None:
    tables: list[dict[str, Any]] = [{"a": "1"}, {"a": "2", "b": "1"}, {"a": "2", "b": "2"}]
    assert most_common(tables) == {"a": "2", "b": "1"}
    assert most_common([]) == {}


def test_runs_that_read_the_same_share_a_table() -> None:
    require_same_inputs("here", [record("base"), record(code="6"), record(seed=1, prompts_noun="9")])
    require_same_inputs("here", [])


def test_what_differs_is_named_with_the_runs() -> None:
    runs = [
        record("base", weights_unet="8"),
        record(seed=0),
        record(seed=1),
        record("ddpo", weights_unet="9"),
        record("ddpo", seed=1, prompts_heldout="9"),
    ]
    with pytest.raises(UserError) as error:
        require_same_inputs("here", runs)
    assert str(error.value).startswith(
        "here: holds runs that share no table: base-red-seed0, ddpo-red-seed0 had other weights/unet than "
        "vader-red-seed0 and ddpo-red-seed1 had other prompts/heldout than base-red-seed0; "
    )
