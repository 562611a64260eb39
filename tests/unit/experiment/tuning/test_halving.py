"""Successive halving: who goes on, who is chosen, and what happens at an edge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vader_bench.config.schema import RunConfig, SuiteConfig
from vader_bench.errors import UserError
from vader_bench.experiment.tuning.candidates import find_candidates
from vader_bench.experiment.tuning.config import TuneConfig
from vader_bench.experiment.tuning.halving import halve, planned

Load = Callable[[dict[str, Any]], TuneConfig]


def rates(*values: float, more: tuple[float, ...] = (), **keys: Any) -> dict[str, Any]:
    """Return a search over learning rates; those of ``more`` are tried at an edge."""
    extend = [{"learning_rate": value} for value in more]
    return {"grid": {"learning_rate": list(values)}, "settings": {"batch_size": 4}, "extend": extend, **keys}


def best_at(**peaks: float) -> Callable[[RunConfig, int], float]:
    """Return curves that rise with queries, most at the learning rate that is the peak of a method."""

    def curve(config: RunConfig, queries: int) -> float:
        rate = float(dict(config.settings)["learning_rate"])
        return 1.0 + queries / (8 + abs(rate - peaks[config.label]))

    return curve


def test_the_best_go_on_and_the_best_of_the_last_rung_is_chosen(
    load: Load, tune_data: dict[str, Any], suite: SuiteConfig, tmp_path: Path, doing: Any
) -> None:
    tune_data["methods"] = {"vader": rates(1.0, 2.0, 3.0, 4.0)}
    config = load(tune_data)
    do, asked = doing(best_at(vader=2.2))
    tuned = halve(config, find_candidates(config, suite), tmp_path, do)
    assert asked == [
        (
            "rung 1 of 2: 4 settings, 4 runs of 8 queries",
            [f"vader-red-trial{number}-rung1-seed1000" for number in (1, 2, 3, 4)],
        ),
        (
            "rung 2 of 2: 2 settings, 4 runs of 16 queries",
            [f"vader-red-trial{number}-rung2-seed{seed}" for number in (2, 3) for seed in (1000, 1001)],
        ),
    ]
    assert [(one.trial.rung, one.trial.candidate.number, one.went_on) for one in tuned.judged] == [
        (1, 1, False), (1, 2, True), (1, 3, True), (1, 4, False), (2, 2, False), (2, 3, False),
    ]  # fmt: skip
    assert tuned.chosen["red", "vader"].trial.candidate.varied == {"learning_rate": 2.0}
    assert (tuned.extended, tuned.left_open) == ({}, {})


def test_a_setting_is_chosen_by_its_mean_over_looks_and_seeds(
    load: Load, tune_data: dict[str, Any], suite: SuiteConfig, tmp_path: Path, doing: Any
) -> None:
    """One rises early; another ends higher; a third has one lucky seed."""
    tune_data["methods"] = {"vader": rates(1.0, 2.0, 3.0, 4.0)}
    tune_data["rungs"] = [{"reward_queries": 16, "seeds": 2}]
    curves = {1.0: (1.0, 1.0), 2.0: (4.0, 4.0), 3.0: (2.0, 5.0), 4.0: (2.0, 2.0)}

    def curve(config: RunConfig, queries: int) -> float:
        rate = float(dict(config.settings)["learning_rate"])
        lucky = 3.0 if (rate, config.seed) == (4.0, 1001) else 0.0
        return curves[rate][queries // 8 - 1] + lucky

    config = load(tune_data)
    do, _ = doing(curve)
    tuned = halve(config, find_candidates(config, suite), tmp_path, do)
    assert [one.outcome.score for one in tuned.judged] == [1.0, 4.0, 3.5, 3.5]
    assert [one.outcome.end for one in tuned.judged] == [1.0, 4.0, 5.0, 3.5]
    assert {one.outcome.base for one in tuned.judged} == {1.0}
    assert tuned.chosen["red", "vader"].trial.candidate.varied == {"learning_rate": 2.0}


def test_of_equals_the_first_is_chosen(
    config: TuneConfig, suite: SuiteConfig, tmp_path: Path, doing: Any
) -> None:
    do, _ = doing(lambda config, queries: 2.0)
    tuned = halve(config, find_candidates(config, suite), tmp_path, do)
    assert [one.trial.candidate.number for one in tuned.judged] == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 1, 2]
    assert {one.trial.candidate.number for one in tuned.chosen.values()} == {1}


def test_an_edge_of_one_method_extends_all_methods_once(
    load: Load, tune_data: dict[str, Any], suite: SuiteConfig, tmp_path: Path, doing: Any
) -> None:
    """What is added halves among itself, so that both methods have as many runs whatever became of it."""
    tune_data["methods"] = {
        "vader": rates(1.0, 2.0, 3.0, more=(4.0, 5.0, 6.0)),
        "half": rates(1.0, 2.0, 3.0, more=(4.0, 5.0, 6.0), method="vader"),
    }
    config = load(tune_data)
    do, asked = doing(best_at(vader=4.9, half=2.0))
    tuned = halve(config, find_candidates(config, suite), tmp_path, do)
    assert [what for what, _ in asked][2:] == [
        "extension, rung 1 of 2: 6 settings, 6 runs of 8 queries",
        "extension, rung 2 of 2: 4 settings, 8 runs of 16 queries",
    ]
    runs = [name for _, names in asked for name in names]
    assert sum(name.startswith("vader-") for name in runs) == sum(name.startswith("half-") for name in runs)
    assert tuned.extended == {"red": ["vader: learning_rate 3 is the largest that was tried"]}
    rate = {arm: one.trial.candidate.varied["learning_rate"] for arm, one in tuned.chosen.items()}
    assert rate == {("red", "vader"): 5.0, ("red", "half"): 2.0}
    assert tuned.left_open == {}


def test_what_is_at_an_edge_after_the_extension_is_left_open(
    load: Load, tune_data: dict[str, Any], suite: SuiteConfig, tmp_path: Path, doing: Any
) -> None:
    tune_data["methods"] = {"vader": rates(2.0, 3.0, 4.0, more=(1.0,))}
    config = load(tune_data)
    do, asked = doing(best_at(vader=0.0))
    tuned = halve(config, find_candidates(config, suite), tmp_path, do)
    assert len(asked) == 4
    assert tuned.extended == {"red": ["vader: learning_rate 2 is the smallest that was tried"]}
    assert tuned.left_open == {("red", "vader"): ["learning_rate 1 is the smallest that was tried"]}


@pytest.mark.parametrize(
    "search", [rates(2.0, 3.0, 4.0, bounds={"learning_rate": [2.0]}), rates(2.0, batch=0)]
)
def test_a_bound_and_a_setting_that_is_not_varied_are_no_edges(
    search: dict[str, Any], load: Load, tune_data: dict[str, Any], suite: SuiteConfig, tmp_path: Path,
    doing: Any,
) -> None:  # fmt: skip
    search.pop("batch", None)
    tune_data["methods"] = {"vader": search}
    if len(search["grid"]["learning_rate"]) == 1:
        tune_data["rungs"] = tune_data["rungs"][1:]
    config = load(tune_data)
    do, _ = doing(best_at(vader=0.0))
    assert halve(config, find_candidates(config, suite), tmp_path, do).left_open == {}


def test_the_file_may_ask_for_the_extension_and_every_method_gets_it(
    load: Load, tune_data: dict[str, Any], suite: SuiteConfig, tmp_path: Path, doing: Any
) -> None:
    """No choice is at an edge, and a setting of the extension is better than all that were tried before."""
    tune_data["extend_on"] = ["red"]
    tune_data["methods"] = {
        "vader": rates(1.0, 2.0, 3.0, more=(1.9, 2.5)),
        "half": rates(1.0, 2.0, 3.0, more=(1.9, 2.5), method="vader"),
    }
    config = load(tune_data)
    do, asked = doing(best_at(vader=1.9, half=2.0))
    tuned = halve(config, find_candidates(config, suite), tmp_path, do)
    assert [what for what, _ in asked][2:] == [
        "extension, rung 1 of 2: 4 settings, 4 runs of 8 queries",
        "extension, rung 2 of 2: 4 settings, 8 runs of 16 queries",
    ]
    assert tuned.extended == {"red": ["the file's `extend_on`"]}
    rate = {arm: one.trial.candidate.varied["learning_rate"] for arm, one in tuned.chosen.items()}
    assert rate == {("red", "vader"): 1.9, ("red", "half"): 2.0}


def test_a_seed_that_ends_below_the_base_model_extends_too(
    load: Load, tune_data: dict[str, Any], suite: SuiteConfig, tmp_path: Path, doing: Any
) -> None:
    """Both prompts fall by as much, so the interval of their difference leaves zero out."""
    tune_data["methods"] = {"vader": rates(1.0, 2.0, 3.0, more=(4.0,))}

    def curve(config: RunConfig, queries: int) -> float:
        fallen = queries == 16 and config.seed == 1001
        return 0.5 if fallen else best_at(vader=2.0)(config, queries)

    config = load(tune_data)
    do, _ = doing(curve)
    tuned = halve(config, find_candidates(config, suite), tmp_path, do)
    reason = "ends below the base model on heldout prompts with seed 1001"
    assert tuned.chosen["red", "vader"].outcome.below == (1001,)
    assert tuned.extended == {"red": [f"vader: {reason}"]}
    assert tuned.left_open == {("red", "vader"): [reason]}


def test_given_again_it_goes_on_where_it_was(
    config: TuneConfig, suite: SuiteConfig, tmp_path: Path, doing: Any
) -> None:
    def killed(what: str, jobs: Any) -> None:
        if what.startswith("rung 2"):
            raise KeyboardInterrupt
        do(what, jobs)

    do, _ = doing(lambda config, queries: 2.0)
    with pytest.raises(KeyboardInterrupt):
        halve(config, find_candidates(config, suite), tmp_path, killed)
    do, asked = doing(lambda config, queries: 2.0)
    tuned = halve(config, find_candidates(config, suite), tmp_path, do)
    assert [len(names) for _, names in asked] == [0, 8]
    again, asked_again = doing(lambda config, queries: 2.0)
    assert halve(config, find_candidates(config, suite), tmp_path, again) == tuned
    assert [len(names) for _, names in asked_again] == [0, 0]


def test_trials_with_other_weights_are_not_mixed(
    config: TuneConfig, suite: SuiteConfig, tmp_path: Path, doing: Any
) -> None:
    def replaced(what: str, jobs: Any) -> None:
        (new if what.startswith("rung 2") else old)(what, jobs)

    old, _ = doing(lambda config, queries: 2.0, **{"weights/tiny": "a"})
    new, _ = doing(lambda config, queries: 2.0, **{"weights/tiny": "b"})
    with pytest.raises(UserError, match="trial 1 of vader on red: had other weights or prompts at rung 2"):
        halve(config, find_candidates(config, suite), tmp_path, replaced)


def test_seeds_with_other_weights_are_not_averaged(
    config: TuneConfig, suite: SuiteConfig, tmp_path: Path, doing: Any
) -> None:
    def replaced(what: str, jobs: Any) -> None:
        for job in jobs:
            (new if job.config.seed == 1001 else old)(what, [job])

    old, _ = doing(lambda config, queries: 2.0, **{"weights/tiny": "a"})
    new, _ = doing(lambda config, queries: 2.0, **{"weights/tiny": "b"})
    with pytest.raises(UserError, match="vader-red-seed1001 had other weights/tiny than vader-red-seed1000"):
        halve(config, find_candidates(config, suite), tmp_path, replaced)


def test_the_plan_counts_runs_and_queries(load: Load, tune_data: dict[str, Any], suite: SuiteConfig) -> None:
    tune_data["methods"]["vader"]["extend"] = [{"k": 2, "learning_rate": 1.0}]
    tune_data["methods"]["ddpo"]["extend"] = [{"clip_range": 0.2, "learning_rate": 1.0}]
    first = [
        "planned: 2 methods on red of tiny, 96 queries for each method and reward, 192 in all",
        "  rung 1 of 2: 4 settings, 1 seed each, 8 queries a run: 8 runs",
        "  rung 2 of 2: 2 settings, 2 seeds each, 16 queries a run: 8 runs",
    ]
    assert planned(load(tune_data | {"extend_on": ["red"]}), suite) == [
        *first,
        "  then more settings of every method (1) on red: 80 queries",
    ]
    assert planned(load(tune_data), suite) == [
        *first,
        (
            "  where a choice is at an edge of what was tried, or ends below the base model: more settings "
            "of every method (1) on that reward, 80 queries a reward"
        ),
    ]
