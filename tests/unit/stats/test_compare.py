from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.results import Invented, make_record
from vader_bench.records.record import Record, VideoScore
from vader_bench.stats.bootstrap import Estimate, Resampler, Sampled
from vader_bench.stats.compare import (
    MethodComparison,
    compare_pairs,
    find_winner,
    holm,
    smallest_found,
)
from vader_bench.stats.panel import build_panel

UP, LEVEL = Estimate(0.2, 0.1, 0.3), Estimate(0.0, -0.1, 0.1)


def _pairs(world: Invented) -> list[MethodComparison]:
    records = [make_record(world, m, "red", seed) for m in world.methods for seed in world.seeds]
    panel = build_panel(records, world.methods, world.seeds)
    assert panel is not None
    return compare_pairs(panel, Resampler(world.seeds, resamples=2000))


def _pair(first: str, second: str, difference: Estimate, p_holm: float) -> MethodComparison:
    return MethodComparison(first, second, difference, 3.0, 5, p_holm, p_holm, 0.4)


def test_holm_by_hand() -> None:
    # sorted .01 .03 .04: times 3, 2, 1 gives .03 .06 .04, and the last is raised to .06
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_holm_stays_a_probability() -> None:
    assert holm([0.6, 0.7, 0.8]) == [1.0, 1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_lies_between_the_plain_p_value_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for plain, corrected in zip(p_values, adjusted, strict=True):
        assert plain <= corrected
        assert corrected <= max(min(1.0, len(p_values) * p) for p in p_values if p <= plain)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_every_pair_is_compared_once_in_order() -> None:
    pairs = _pairs(Invented())
    assert [(p.first, p.second) for p in pairs] == [
        ("vader", "ddpo"), ("vader", "diffusion-dpo"), ("ddpo", "diffusion-dpo"),
    ]  # fmt: skip
    assert [p.p_holm for p in pairs] == pytest.approx(holm([p.p_value for p in pairs]))


def test_a_clear_difference_is_found() -> None:
    pair = _pairs(Invented())[0]
    assert pair.difference.value == pytest.approx(0.36, abs=0.03)
    assert pair.difference.low < pair.difference.value < pair.difference.high
    assert (pair.wins, pair.seeds) == (3.0, 3)
    assert pair.ahead == "vader"
    assert pair.margin("vader") == pair.difference
    assert pair.margin("ddpo") == Estimate(
        -pair.difference.value, -pair.difference.high, -pair.difference.low
    )


def test_equal_methods_are_not_distinguished() -> None:
    gains = {"vader": 0.1, "other": 0.1}
    world = Invented(methods=("vader", "other"), gains=gains, seed_noise=0.0, video_noise=0.0)
    (pair,) = _pairs(world)
    assert pair.difference == Estimate(0.0, 0.0, 0.0)
    assert (pair.wins, pair.seeds) == (1.5, 3)  # equal ends count half
    assert (pair.p_value, pair.p_holm, pair.ahead) == (1.0, 1.0, None)


def test_wins_are_counted_seed_by_seed() -> None:
    world = Invented(seeds=range(6), gains={"vader": 0.1, "ddpo": 0.1, "diffusion-dpo": 0.1}, seed_noise=0.05)
    for pair in _pairs(world):
        runs = {
            method: [
                np.mean(
                    [s.reward for s in _last(make_record(world, method, "red", seed)) if s.sample == 0][:6]
                )
                for seed in world.seeds
            ]
            for method in (pair.first, pair.second)
        }
        ahead = [a > b for a, b in zip(runs[pair.first], runs[pair.second], strict=True)]
        assert 0 < sum(ahead) < 6
        assert pair.wins == sum(ahead)


def _last(record: Record) -> list[VideoScore]:
    return [e for e in record.evaluations if e.split == "heldout"][-1].scores


def test_one_seed_says_nothing_of_what_would_be_found() -> None:
    assert _pairs(Invented(seeds=(0,)))[0].smallest is None


def test_without_any_spread_nothing_is_known_of_what_would_be_found() -> None:
    exact = np.full(1000, 0.3)
    for draws in (exact, exact + np.linspace(-1e-16, 1e-16, 1000)):
        assert smallest_found(Sampled(np.asarray(0.3), draws), 3) is None
    world = Invented(gains={"vader": 0.1, "ddpo": 0.1, "diffusion-dpo": 0.1}, seed_noise=0, video_noise=0)
    assert [pair.smallest for pair in _pairs(world)] == [None] * 3


@pytest.mark.parametrize("seeds", [2, 5, 1000])
def test_the_smallest_effect_is_that_of_a_z_test(seeds: int) -> None:
    """Draws whose 95 % interval ends 1.96 standard errors from zero: 1.96 + 0.84 of them are needed."""
    draws = np.linspace(-1.95996 / 0.95, 1.95996 / 0.95, 40001)
    found = smallest_found(Sampled(np.asarray(0.0), draws), seeds)
    assert found == pytest.approx(1.95996 + 0.84162, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "over_seeds", "over_prompts"),
    [(2, 0.1, 1.0), (3, 0.1, 1.0), (5, 0.1, 1.0), (2, 1.0, 1.0), (3, 1.0, 1.0), (5, 1.0, 1.0)],
)
def test_a_gain_of_the_smallest_size_is_found_as_often_as_is_claimed(
    seeds: int, over_seeds: float, over_prompts: float
) -> None:
    """Four in five experiments find one of the size that experiments print on average.

    What a single one prints is known no better than its spread: of the typical size fewer are found.
    """
    count = 32
    prompts = tuple(f"prompt {index}" for index in range(count))

    def experiment(trial: int, effect: float) -> Sampled:
        rng = np.random.default_rng([seeds, trial, 7])
        scores = (
            effect + over_seeds * rng.normal(size=(seeds, 1)) + over_prompts * rng.normal(size=(1, count))
        )
        resampler = Resampler(range(seeds), resamples=800, root=trial)
        return resampler.seeds_and_prompts(scores + 0.1 * rng.normal(size=(seeds, count)), prompts)

    sizes = [smallest_found(experiment(trial, 0.0), seeds) for trial in range(400)]
    # a standard error is estimated without bias as its square
    size = float(np.sqrt(np.mean([size**2 for size in sizes if size is not None])))

    def found(effect: float) -> float:
        ends = [experiment(400 + trial, effect).estimate() for trial in range(800)]
        return float(np.mean([end.above_zero for end in ends]))

    assert found(size) == pytest.approx(0.8, abs=0.045)  # three standard errors of a share of 800
    typical = float(np.median([size for size in sizes if size is not None]))
    assert found(typical) > (0.59 if seeds == 2 else 0.69)
    stricter = smallest_found(experiment(0, 0.0), seeds, comparisons=3)
    assert stricter is not None
    assert sizes[0] is not None
    assert stricter > sizes[0]


@pytest.mark.parametrize(
    ("difference", "p_holm", "ahead"),
    [(UP, 0.01, "a"), (Estimate(-0.2, -0.3, -0.1), 0.01, "b"), (UP, 0.05, None), (LEVEL, 0.01, None)],
)
def test_ahead_takes_interval_and_corrected_p_value(
    difference: Estimate, p_holm: float, ahead: str | None
) -> None:
    assert _pair("a", "b", difference, p_holm).ahead == ahead


def test_a_winner_is_ahead_of_every_other_and_of_the_base_model() -> None:
    pairs = [_pair("a", "b", UP, 0.01), _pair("a", "c", UP, 0.01), _pair("b", "c", LEVEL, 0.9)]
    assert find_winner(pairs, {"a": UP, "b": LEVEL, "c": LEVEL}, 3) == "a"
    assert find_winner(pairs, {"a": LEVEL, "b": LEVEL, "c": LEVEL}, 3) is None
    undecided = [pairs[0], _pair("a", "c", UP, 0.2), pairs[2]]
    assert find_winner(undecided, {"a": UP, "b": LEVEL, "c": LEVEL}, 3) is None


def test_no_winner_from_one_seed_or_without_an_opponent() -> None:
    assert find_winner([_pair("a", "b", UP, 0.01)], {"a": UP, "b": LEVEL}, 1) is None
    assert find_winner([], {"a": UP}, 5) is None
