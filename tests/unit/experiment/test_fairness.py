from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vader_bench.config.schema import RunConfig
from vader_bench.errors import UserError
from vader_bench.experiment.fairness import check_fair
from vader_bench.experiment.grid import expand
from vader_bench.experiment.load import load_experiment

pytestmark = pytest.mark.usefixtures("known_names")


CHANGED = "ddpo-action-seed1"


@pytest.fixture
def runs(write_files: Callable[[], Path]) -> list[RunConfig]:
    return expand(load_experiment(write_files()))


def changed(runs: list[RunConfig], name: str = CHANGED, **fields: Any) -> list[RunConfig]:
    assert name in {run.name for run in runs}
    return [run.model_copy(update=fields) if run.name == name else run for run in runs]


def sampler_of(runs: list[RunConfig], **fields: Any) -> Any:
    suite = runs[0].suite
    return suite.model_copy(update={"sampler": suite.sampler.model_copy(update=fields)})


def backbone_of(runs: list[RunConfig], **fields: Any) -> Any:
    suite = runs[0].suite
    return suite.model_copy(update={"backbone": suite.backbone.model_copy(update=fields)})


def settings_of(runs: list[RunConfig], **fields: Any) -> Any:
    return next(run.settings for run in runs if run.name == CHANGED).model_copy(update=fields)


def evaluation_of(runs: list[RunConfig], **fields: Any) -> Any:
    return runs[0].evaluation.model_copy(update=fields)


def test_an_expanded_grid_is_fair(runs: list[RunConfig]) -> None:
    check_fair(runs)
    check_fair(runs[:1])
    check_fair([])


def test_methods_may_differ_in_their_own_settings(runs: list[RunConfig]) -> None:
    settings = {run.method: dict(run.settings) for run in runs if run.reward == "action"}
    assert settings["vader"]["learning_rate"] != settings["ddpo"]["learning_rate"]
    assert "k" in settings["vader"]
    assert "k" not in settings["ddpo"]


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("budget", lambda _: {"reward_queries": 256}),
        ("suite", lambda runs: {"suite": sampler_of(runs, steps=25)}),
        ("suite", lambda runs: {"suite": sampler_of(runs, eta=0.5)}),
        ("suite", lambda runs: {"suite": sampler_of(runs, guidance=7.5)}),
        ("suite", lambda runs: {"suite": backbone_of(runs, settings={"frames": 4})}),
        ("suite", lambda runs: {"suite": runs[0].suite.model_copy(update={"decode_frames": 1})}),
        ("prompts", lambda _: {"prompts": "activities"}),
        ("evaluation", lambda runs: {"evaluation": evaluation_of(runs, prompts=4)}),
        ("evaluation", lambda runs: {"evaluation": evaluation_of(runs, samples=2)}),
        ("evaluation", lambda runs: {"evaluation": evaluation_of(runs, every=32)}),
        ("lora_rank", lambda runs: {"settings": settings_of(runs, lora_rank=4)}),
        ("settings", lambda runs: {"settings": settings_of(runs, learning_rate=0.1)}),
        ("seeds", lambda _: {"seed": 7}),
        ("experiment", lambda _: {"experiment": "other"}),
    ],
)
def test_every_other_difference_is_refused(
    runs: list[RunConfig], what: str, fields: Callable[[list[RunConfig]], dict[str, Any]]
) -> None:
    with pytest.raises(UserError, match=f"not a fair comparison: .* in {what}; give all arms the same"):
        check_fair(changed(runs, **fields(runs)))


def test_a_missing_run_is_refused(runs: list[RunConfig]) -> None:
    with pytest.raises(UserError, match="in seeds"):
        check_fair([run for run in runs if run.name != CHANGED])


def test_the_base_model_is_looked_at_like_the_others(runs: list[RunConfig]) -> None:
    with pytest.raises(UserError, match="in suite"):
        check_fair(changed(runs, "base-action-seed0", suite=sampler_of(runs, steps=50)))
    with pytest.raises(UserError, match="in prompts"):
        check_fair(changed(runs, "base-action-seed0", prompts="pocket"))
    with pytest.raises(
        UserError, match="base-action-seed0: has a budget of 64; what is not trained has none"
    ):
        check_fair(changed(runs, "base-action-seed0", reward_queries=64))


def test_all_differences_are_reported(runs: list[RunConfig]) -> None:
    settings = settings_of(runs, lora_rank=4)
    unfair = changed(runs, reward_queries=256, prompts="pocket", settings=settings)
    with pytest.raises(UserError) as caught:
        check_fair(unfair)
    told = [line.partition(" in ")[2].partition(";")[0] for line in str(caught.value).splitlines()]
    assert told == ["budget", "lora_rank", "prompts", "settings"]


Ask = Callable[..., list[RunConfig]]


@pytest.fixture
def ask(write_files: Callable[[], Path], experiment_data: dict[str, Any]) -> Ask:
    """Return the runs of an experiment with named arms."""

    def expanded(compares: list[str], **methods: dict[str, Any]) -> list[RunConfig]:
        experiment_data.update(compares=compares, methods=methods, rewards=["aesthetic"])
        return expand(load_experiment(write_files()))

    return expanded


def test_arms_of_one_method_may_differ_in_what_is_compared(ask: Ask) -> None:
    one = {"method": "vader", "learning_rate": 0.1, "k": 1}
    runs = ask(["k"], **{"k-1": one, "k-2": one | {"k": 2}})
    assert {run.name for run in runs if run.method == "vader"} >= {
        "k-1-aesthetic-seed0",
        "k-2-aesthetic-seed0",
    }
    assert [dict(run.settings)["k"] for run in runs if run.seed == 1] == [1, 2]


def test_arms_may_change_the_suite_where_that_is_compared(ask: Ask) -> None:
    arm = {"method": "vader", "learning_rate": 0.1}
    few, many = arm | {"suite": {"decode_frames": 1}}, arm | {"suite": {"decode_frames": 4}}
    runs = ask(["decode_frames"], few=few, many=many)
    assert [run.suite.decode_frames for run in runs if run.seed == 1] == [1, 4]
    with pytest.raises(UserError, match="in suite; give all arms the same suite; only k may differ"):
        ask(["k"], few=few | {"k": 1}, many=many | {"k": 2})


@pytest.mark.parametrize(
    ("compares", "second", "told"),
    [
        (["k"], {"k": 2, "learning_rate": 0.2}, "in settings; give all arms the same settings; only k may"),
        (["k", "lora_rank"], {"k": 2}, "compares: names 'lora_rank', in which no two arms differ"),
        (["k", "depth"], {"k": 2}, "compares: names 'depth', in which arms cannot differ"),
        (
            ["k"],
            {"method": "vadr"},
            r"methods.second.method: is 'vadr', which is no method; did you mean 'vader'",
        ),
        (
            ["k"],
            {"suite": {"sampler": {"steps": 3}}},
            "methods.second.suite.sampler: is nothing that an arm can",
        ),
        (["k"], {"suite": 3}, "methods.second.suite: is no table"),
    ],
)
def test_arms_that_differ_in_anything_else_are_refused(
    ask: Ask, compares: list[str], second: dict[str, Any], told: str
) -> None:
    first = {"method": "vader", "learning_rate": 0.1, "k": 1}
    with pytest.raises(UserError, match=told):
        ask(compares, first=first, second=first | second)


def test_arms_of_other_methods_are_refused_where_methods_are_not_compared(ask: Ask) -> None:
    arms = {name: {"method": name, "learning_rate": 0.1} for name in ("vader", "ddpo")}
    ask(["method"], **arms)
    arms["ddpo"]["lora_rank"] = 4
    with pytest.raises(UserError, match="all arms the same method; only lora_rank may differ"):
        ask(["lora_rank"], **arms)
