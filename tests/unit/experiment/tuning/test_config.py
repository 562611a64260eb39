"""What a tuning file may say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vader_bench.errors import UserError
from vader_bench.experiment.tuning.config import SearchConfig, TuneConfig, load_tune

Load = Callable[[dict[str, Any]], TuneConfig]


def test_every_combination_of_a_grid_is_tried_and_then_the_points() -> None:
    search = SearchConfig(
        grid={"k": [1, 2], "learning_rate": [0.1, 0.01]}, points=[{"k": 4, "learning_rate": 0.1}]
    )
    assert search.tried() == [
        {"k": 1, "learning_rate": 0.1},
        {"k": 1, "learning_rate": 0.01},
        {"k": 2, "learning_rate": 0.1},
        {"k": 2, "learning_rate": 0.01},
        {"k": 4, "learning_rate": 0.1},
    ]
    assert search.count == 5


def test_the_effort_is_counted_over_all_rungs(config: TuneConfig) -> None:
    """Four settings of 8 queries, then two of 16 with two seeds."""
    assert config.entering(4) == [4, 2]
    assert config.queries(4) == 4 * 8 + 2 * 2 * 16
    assert config.queries(1) == 8 + 2 * 16


def test_a_budget_is_a_single_rung_of_one_seed(load: Load, tune_data: dict[str, Any]) -> None:
    del tune_data["rungs"]
    (rung,) = load(tune_data | {"budget": {"reward_queries": 16}}).ladder
    assert (rung.reward_queries, rung.seeds, rung.keep) == (16, 1, None)


def test_all_faults_of_a_file_are_reported_at_once(load: Load, tune_data: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        load(tune_data | {"sead": 3, "seed": "one"})
    text = str(caught.value)
    assert "sead: is not a known key; did you mean 'seed'?" in text
    assert "seed: is 'one', not a whole number" in text


def test_an_experiment_is_named_as_one() -> None:
    with pytest.raises(UserError, match="is an experiment, and no tuning; give it to `vader-bench run`"):
        load_tune(Path("fig7"))


RUNG = {"reward_queries": 8, "keep": 2}
LAST = {"reward_queries": 16}


@pytest.mark.parametrize(
    ("rungs", "message"),
    [
        ([RUNG, LAST | {"keep": 1}], "rungs.1.keep: is of the last rung, which chooses one; delete it"),
        ([{"reward_queries": 8}, LAST], "rungs.0.keep: is missing; say how many settings go on"),
        ([RUNG | {"keep": 4}, LAST], "rungs.0.keep: is 4, and 4 are tried"),
        ([RUNG, {"reward_queries": 8}], "rungs.1.reward_queries: is 8, no more than at the rung before"),
        ([RUNG, {"reward_queries": 20}], "rungs.1.reward_queries: is no multiple of evaluation.every"),
        ([RUNG, LAST | {"seeds": 0}], "rungs.1.seeds: is 0; it must be at least 1"),
        ([], "rungs: is missing; write `rungs`, or `budget`"),
    ],
)
def test_rungs_that_are_no_ladder_are_refused(
    rungs: list[dict[str, int]], message: str, load: Load, tune_data: dict[str, Any]
) -> None:
    with pytest.raises(UserError) as caught:
        load(tune_data | {"rungs": rungs})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        ("rde", "extend_on: names 'rde', which is no reward of this tuning; did you mean 'red'?"),
        ("red", "extend_on: has nothing to try; add settings under `extend` of every method"),
    ],
)
def test_an_extension_that_is_none_is_refused(
    reward: str, message: str, load: Load, tune_data: dict[str, Any]
) -> None:
    with pytest.raises(UserError) as caught:
        load(tune_data | {"extend_on": [reward]})
    assert message in str(caught.value)


def test_a_budget_beside_rungs_is_refused(load: Load, tune_data: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="rungs: stands beside `budget`; write `rungs`, or `budget`"):
        load(tune_data | {"budget": {"reward_queries": 16}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": {"clip_range": [0.1], "learning_rate": [0.1]}}, "settings (vader 4, ddpo 1)"),
        ({"extend": [{"clip_range": 1.0, "learning_rate": 0.1}]}, "under `extend` (vader 0, ddpo 1)"),
        ({"grid": {}}, "methods.ddpo: names nothing to try; add `grid` or `points`"),
        ({"points": [{"clip_range": 0.1}]}, "methods.ddpo.points.0: names clip_range, where others name "),
        ({"points": [{"clip_range": 0.1, "learning_rate": 0.1}]}, "methods.ddpo: tries {"),
        ({"extend": [{"clip_range": 0.1, "learning_rate": 0.1}]}, "methods.ddpo: tries {"),
        (
            {"bounds": {"clip": [1]}},
            "methods.ddpo.bounds: names 'clip', which is not varied; choose one of: clip_range",
        ),
    ],
)
def test_effort_that_is_not_equal_and_settings_that_are_none_are_refused(
    change: dict[str, Any], message: str, load: Load, tune_data: dict[str, Any]
) -> None:
    tune_data["methods"]["ddpo"] |= change
    with pytest.raises(UserError) as caught:
        load(tune_data)
    assert message in str(caught.value)
