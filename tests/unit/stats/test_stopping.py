"""Rules that stop without the truth, on runs where the right moment is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.results import Invented, make_record
from vader_bench.records.columns import by_columns
from vader_bench.records.record import Evaluation, FrontierPoint, Record, VideoScore
from vader_bench.stats.stopping import RULES, Choice, Kind, Moment, Rule, Trail, choose, judge, trails

BY_NAME = {rule.name: rule for rule in RULES}
PROMPTS = ("a", "b", "c", "d")


def trail(gold: list[float], **changes: Any) -> Trail:
    """Return a run of looks after 0, 8, 16 ... queries; prompts differ in their truth by a little."""
    given: dict[str, Any] = {
        "reward": "red", "method": "vader", "arm": "vader", "seed": 0, "second": None, "path_kl": None,
        "diversity": None,
    } | changes  # fmt: skip
    states = tuple(
        Moment(
            at=8.0 * index,
            second=None
            if given["second"] is None
            else np.asarray(given["second"][index]) + 0.001 * np.arange(4),
            path_kl=None if given["path_kl"] is None else given["path_kl"][index],
            diversity=None if given["diversity"] is None else given["diversity"][index],
        )
        for index in range(len(gold))
    )
    spread = np.asarray([-0.02, -0.01, 0.01, 0.02])
    gains = np.asarray(gold)[:, None] + np.where(np.arange(len(gold)) > 0, 1.0, 0.0)[:, None] * spread
    named = {name: given[name] for name in ("reward", "method", "arm", "seed")}
    return Trail(**named, states=states, prompts=PROMPTS, gold=gains, trained=len(gold) - 1)


def picked(name: str, one: Trail, number: float = np.nan) -> int | None:
    return BY_NAME[name].pick(one, number)


def test_each_rule_stops_where_it_says() -> None:
    run = trail(
        [0.0, 1.0, 2.0, 0.5, -1.0],
        second=[0.5, 0.6, 0.7, 0.3, 0.8],
        path_kl=[0.0, 3.0, 9.0, 7.0, 50.0],
        diversity=[0.4, 0.38, 0.3, 0.35, 0.1],
    )
    assert picked("as trained", run) == 4
    assert picked("second reward highest", run) == 4
    assert picked("until the second reward falls", run) == 2  # it never sees that it comes back
    assert [picked("path KL within a bound", run, bound) for bound in (1.0, 3.0, 8.0, 9.0, 60.0)] == [
        0,
        1,
        1,
        3,
        4,
    ]
    # 0.3 of 0.4 is 0.75, 0.38 is 0.95, 0.1 is 0.25
    diverse = [picked("diversity above a share of the base's", run, share) for share in (0.2, 0.7, 0.8, 0.96)]
    assert diverse == [4, 3, 1, 0]
    assert [picked("the same for every run", run, at) for at in (0.0, 15.0, 16.0, 99.0)] == [0, 1, 2, 4]


def test_a_second_reward_has_to_fall_by_interval() -> None:
    noisy = [0.5 * np.ones(4), np.asarray([0.9, 0.1, 0.9, 0.0]), np.full(4, 0.6)]
    assert picked("until the second reward falls", trail([0.0, 0.0, 0.0], second=noisy)) == 2
    sure = [0.5 * np.ones(4), np.asarray([0.4, 0.41, 0.39, 0.4]), np.full(4, 0.6)]
    assert picked("until the second reward falls", trail([0.0, 0.0, 0.0], second=sure)) == 0


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule.name not in {"as trained", "the same for every run"}]
)
def test_what_was_not_measured_decides_nothing(rule: Rule) -> None:
    assert rule.pick(trail([0.0, 1.0]), 0.5) is None
    assert choose(rule, [trail([0.0, 1.0], reward=reward) for reward in ("red", "blue")]) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_no_rule_sees_the_truth_of_the_runs_that_judge_it(rule: Rule) -> None:
    seen: dict[str, Any] = {
        "second": [0.5, 0.6, 0.4], "path_kl": [0.0, 2.0, 5.0], "diversity": [0.4, 0.3, 0.2],
    }  # fmt: skip
    others = [trail([0.0, 1.0, 0.5], reward="blue", seed=seed, **seen) for seed in (0, 1)]
    said = []
    for gold in ([0.0, 1.0, 5.0], [0.0, -9.0, -3.0]):
        found = choose(rule, [trail(gold, **seen), *others])
        said.append([(one.number, one.state) for one in found if one.trail.reward == "red"])
    assert said[0] == said[1]


def test_a_number_is_chosen_on_other_rewards() -> None:
    path_kl = [0.0, 4.0, 25.0]
    red = [trail([0.0, 1.0, 2.0], seed=seed, path_kl=path_kl) for seed in (0, 1)]
    blue = [trail([0.0, 1.0, -2.0], reward="blue", seed=seed, path_kl=path_kl) for seed in (0, 1)]
    found = choose(BY_NAME["path KL within a bound"], [*red, *blue])
    # on blue it is best to stop at 4, on red to go on to 25: each gets the other's
    assert {(choice.trail.reward, choice.number, choice.state) for choice in found} == {
        ("red", 4.0, 1), ("blue", 25.0, 2),
    }  # fmt: skip


@pytest.mark.parametrize("key", ["method", "seed"])
def test_with_one_reward_it_is_chosen_on_other_methods_or_seeds(key: str) -> None:
    values: dict[str, tuple[Any, Any]] = {"method": ("vader", "ddpo"), "seed": (0, 1)}
    one, other = values[key]
    runs = [trail([0.0, 1.0, 2.0], **{key: one}), trail([0.0, 1.0, -2.0], **{key: other})]
    found = choose(BY_NAME["the same for every run"], runs)
    assert [(choice.number, choice.state) for choice in found] == [(8.0, 1), (16.0, 2)]


def test_one_run_alone_has_no_number() -> None:
    assert choose(BY_NAME["the same for every run"], [trail([0.0, 1.0])]) == []
    assert len(choose(BY_NAME["as trained"], [trail([0.0, 1.0])])) == 1


def test_a_share_is_gains_kept_over_best_gains() -> None:
    first = trail([0.0, 2.0, 1.0], arm="small", seed=0)
    second = trail([0.0, 4.0, -1.0], arm="large", seed=0)
    found = judge([Choice(first, 8.0, 2), Choice(second, 16.0, 2)])
    assert found.numbers == (8.0, 16.0)
    assert found.at == 16.0
    assert found.kept.value == pytest.approx((1.0 - 1.0) / (2.0 + 4.0))
    whole = judge([Choice(first, None, 1), Choice(second, None, 1)])
    assert (whole.kept.value, whole.kept.low, whole.kept.high) == pytest.approx((1.0, 1.0, 1.0))
    assert whole.numbers == ()


@pytest.mark.parametrize("seeds", [4, 5, 9])
def test_runs_that_a_rule_ruins_count_however_many_seeds_there_are(seeds: int) -> None:
    kept = [1.0] * (seeds - 1) + [-5.0]
    runs = [trail([0.0, 1.0, end], seed=seed) for seed, end in enumerate(kept)]
    assert judge([Choice(run, None, 2) for run in runs]).kept.value == pytest.approx(sum(kept) / seeds)


def test_a_share_of_no_gain_is_undefined() -> None:
    lost = trail([0.0, -1.0, -2.0])
    assert judge([Choice(lost, None, 2)]).kept.absent == "undefined"


def test_an_interval_holds_the_share_of_noisy_runs() -> None:
    rng = np.random.default_rng(0)
    choices = []
    for seed in range(6):
        run = trail([0.0, 2.0, 1.0], seed=seed)
        noisy = run.gold + rng.normal(scale=0.2, size=run.gold.shape) * (np.arange(3) > 0)[:, None]
        choices.append(Choice(replace(run, gold=noisy), None, 2))
    kept = judge(choices).kept
    assert kept.low < 0.5 < kept.high < 0.8
    assert kept.low > 0.2


def look(queries: int, gold: float | None, others: dict[str, float], **fields: Any) -> Evaluation:
    scores = [VideoScore(prompt=p, sample=0, reward=1.0, gold=gold, others=others) for p in PROMPTS]
    return Evaluation(split="heldout", queries=queries, flops=0, device_seconds=0, scores=scores, **fields)


def record(judges: tuple[str, ...] = (), **fields: Any) -> Record:
    """Return a run on red of an experiment that asks for ``judges``, read from a file as it was written."""
    made = make_record(Invented(seeds=(3,)), "vader", "red", 3).model_copy(update=fields)
    data = by_columns(made.model_dump(mode="json"))
    data["config"]["evaluation"]["measure"] = {"judges": list(judges)}
    return Record.model_validate(data)


def test_trails_are_read_off_records() -> None:
    looks = [
        look(0, 0.5, {"blue": 0.1, "green": 9.0}, path_kl=0.0, diversity=0.3),
        look(8, 0.9, {"blue": 0.4, "green": 9.0}, path_kl=4.0, diversity=0.2),
    ]
    run = record(("blue",), evaluations=looks, frontier=[
        FrontierPoint(scale=1.0, look=looks[1]), FrontierPoint(scale=0.0, look=looks[0]),
    ])  # fmt: skip
    expected: dict[Kind, list[float]] = {"queries": [0.0, 8.0], "scale": [0.0, 1.0]}
    for kind, places in expected.items():
        [found] = trails({"mine": [run]}, kind)
        assert (found.reward, found.method, found.arm, found.seed) == ("red", "vader", "mine", 3)
        assert [state.at for state in found.states] == places
        assert [state.path_kl for state in found.states] == [0.0, 4.0]
        assert [state.diversity for state in found.states] == [0.3, 0.2]
        seconds = [[] if state.second is None else state.second.tolist() for state in found.states]
        assert seconds == [[0.1] * 4, [0.4] * 4]
        np.testing.assert_allclose(found.gold, [[0.0] * 4, [0.4] * 4])
        assert found.best == 1


@pytest.mark.parametrize(
    ("judges", "second"),
    [(("hps", "aesthetic"), 0.1), (("red", "hps", "aesthetic"), 0.1), (("aesthetic", "hps"), 9.0)],
)
def test_the_second_reward_is_the_first_judge_that_is_not_trained_on(
    judges: tuple[str, ...], second: float
) -> None:
    looks = [look(queries, 0.5, {"hps": 0.1, "aesthetic": 9.0}) for queries in (0, 8)]
    [found] = trails({"mine": [record(judges, evaluations=looks)]}, "queries")
    seen = [None if state.second is None else state.second.tolist() for state in found.states]
    assert seen == [[second] * 4] * 2


@pytest.mark.parametrize("judges", [(), ("red",)])
def test_without_another_judge_there_is_no_second_reward(judges: tuple[str, ...]) -> None:
    looks = [look(queries, 0.5, {"hps": 0.1}) for queries in (0, 8)]
    [found] = trails({"mine": [record(judges, evaluations=looks)]}, "queries")
    assert [state.second for state in found.states] == [None, None]


def test_diversity_of_other_videos_is_not_seen() -> None:
    looks = [look(queries, 0.5, {}, diversity=0.2) for queries in (0, 8, 16)]
    looks[1] = looks[1].model_copy(update={"scores": looks[1].scores[:-1]})
    [found] = trails({"mine": [record(evaluations=looks)]}, "queries")
    assert [state.diversity for state in found.states] == [0.2, None, 0.2]
    assert picked("diversity above a share of the base's", found, 0.5) is None


@pytest.mark.parametrize("scales", [(1.0,), (0.0, 0.5, 2.0), (0.5, 1.0)])
def test_scales_without_the_base_model_or_what_was_trained_are_left_out(scales: tuple[float, ...]) -> None:
    end = look(8, 0.9, {})
    points = [FrontierPoint(scale=scale, look=end) for scale in scales]
    assert trails({"mine": [record(evaluations=[end], frontier=points)]}, "scale") == []


def test_runs_without_a_truth_are_left_out() -> None:
    assert trails({"mine": [record(evaluations=[look(0, None, {}), look(8, None, {})])]}, "queries") == []
