from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import trim_mean

from vader_bench.stats.aggregate import (
    aggregate_name,
    area_under_curve,
    expected_best,
    first_reach,
    over_seeds,
    speed_up,
    spent,
    value_at,
)

SCORES = st.floats(-10, 10, allow_nan=False)


@given(st.lists(SCORES, min_size=5, max_size=17))
def test_interquartile_mean_is_that_of_rliable(values: list[float]) -> None:
    # rliable's aggregate_iqm is scipy's trim_mean with a quarter cut from either end
    expected = trim_mean(values, proportiontocut=0.25)
    assert over_seeds(np.asarray(values)) == pytest.approx(expected, abs=1e-12)


def test_interquartile_mean_of_five_leaves_out_one_at_either_end() -> None:
    # 5 // 4 = 1 is cut from either end: (2 + 3 + 4) / 3
    assert over_seeds(np.array([100.0, 2.0, 4.0, -50.0, 3.0])) == 3.0


def test_below_five_seeds_it_is_the_plain_mean() -> None:
    assert over_seeds(np.array([0.0, 0.0, 0.0, 100.0])) == 25.0
    assert [aggregate_name(n) for n in (1, 4, 5)] == ["single seed", "mean", "interquartile mean"]


def test_aggregation_is_over_the_last_axis_only() -> None:
    values = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(over_seeds(values), values.mean(axis=-1))


def test_area_is_the_mean_height_of_the_curve() -> None:
    # trapezoids: 10 * (0 + 2) / 2 + 30 * (2 + 6) / 2 = 10 + 120, over a width of 40
    x = np.array([0.0, 10.0, 40.0])
    assert area_under_curve(x, np.array([0.0, 2.0, 6.0])) == pytest.approx(130 / 40)
    assert area_under_curve(x, np.full(3, 0.7)) == pytest.approx(0.7)


def test_first_reach_interpolates_between_looks() -> None:
    x, y = np.array([0.0, 10.0, 20.0, 30.0]), np.array([0.0, 1.0, 3.0, 2.0])
    # level 2 lies half way between the looks at 10 and 20; the later fall to 2 does not matter
    assert first_reach(x, y, np.asarray(2.0)) == 15.0
    assert first_reach(x, y, np.asarray(1.0)) == 10.0
    assert first_reach(x, y, np.asarray(-1.0)) == 0.0
    assert first_reach(x, y, np.asarray(3.5)) == np.inf


def test_first_reach_of_a_batch_is_that_of_its_members() -> None:
    x = np.array([[0.0, 1.0, 2.0], [0.0, 2.0, 4.0], [0.0, 2.0, 4.0]])
    y = np.array([[0.0, 0.5, 1.0], [0.0, 1.0, 1.0], [0.0, 0.1, 0.2]])
    level = np.array([0.75, 0.5, 0.3])
    np.testing.assert_allclose(first_reach(x, y, level), [1.5, 1.0, np.inf])


def test_value_at_interpolates_and_holds_its_ends() -> None:
    x, y = np.array([0.0, 10.0, 20.0]), np.array([1.0, 2.0, 6.0])
    assert [float(value_at(x, y, a)) for a in (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0, 99.0)] == [
        1.0, 1.0, 1.5, 2.0, 4.0, 6.0, 6.0,
    ]  # fmt: skip


def test_value_at_a_standstill_takes_the_later_look() -> None:
    assert value_at(np.array([0.0, 0.0]), np.array([1.0, 2.0]), 0.0) == 2.0


def test_speed_up_of_never_and_of_at_once() -> None:
    spent, amount = np.array([64.0, 64.0, 64.0]), np.array([16.0, np.inf, 0.0])
    np.testing.assert_array_equal(speed_up(spent, amount), [4.0, 0.0, np.inf])


def test_expected_best_of_two_by_hand() -> None:
    # the pairs of {1, 2, 4} have the maxima 2, 4, 4
    scores = np.array([4.0, 1.0, 2.0])
    assert expected_best(scores, scores, 2) == pytest.approx(10 / 3)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6])
def test_expected_best_is_the_mean_over_all_subsets(count: int) -> None:
    rng = np.random.default_rng(count)
    scores, gold = rng.normal(size=6), rng.normal(size=6)
    subsets = [list(subset) for subset in combinations(range(6), count)]
    best = [subset[int(np.argmax(scores[subset]))] for subset in subsets]
    assert expected_best(scores, scores, count) == pytest.approx(scores[best].mean())
    assert expected_best(scores, gold, count) == pytest.approx(gold[best].mean())


def test_expected_best_refuses_more_than_there_are() -> None:
    with pytest.raises(ValueError, match="best of 3 cannot be estimated from 2 samples"):
        expected_best(np.zeros(2), np.zeros(2), 3)


def test_what_runs_spent_is_put_together_like_their_rewards() -> None:
    # of five the lowest and the highest are left out: (2 + 3 + 4) / 3; of four none: 26 / 4
    ledgers = [{"device_seconds": seconds, "flops": 1.0} for seconds in (1.0, 20.0, 2.0, 3.0, 4.0)]
    assert spent(ledgers, "device_seconds") == pytest.approx(3.0)
    assert spent(ledgers[:4], "device_seconds") == pytest.approx(26 / 4)
    assert spent(ledgers, "flops") == 1.0
