from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vader_bench.stats.aggregate import FloatArray
from vader_bench.stats.bootstrap import RESAMPLES, Estimate, Resampler, Sampled

PROMPTS = tuple(f"prompt {i}" for i in range(12))


def _scores(
    seeds: int, *, seed: float = 0.0, prompt: float = 0.0, both: float = 0.0, root: int = 0
) -> FloatArray:
    """Return scores [S, P] with these standard deviations of seeds, prompts and their interaction."""
    rng = np.random.default_rng(root)
    parts = rng.normal(size=(seeds, 1)), rng.normal(size=(1, 12)), rng.normal(size=(seeds, 12))
    return np.asarray(seed * parts[0] + prompt * parts[1] + both * parts[2])


def test_limits_are_percentiles_that_were_drawn() -> None:
    # of the 999 draws 1..999, 2.5 % are 24.975 and 97.5 % are 974.025: the 25th and the 975th
    sampled = Sampled(np.asarray(500.0), np.arange(1.0, 1000.0))
    assert sampled.estimate() == Estimate(500.0, 25.0, 975.0)
    assert sampled.estimate(0.5) == Estimate(500.0, 250.0, 750.0)


def test_limits_can_be_infinite() -> None:
    draws = np.concatenate([np.full(900, 3.0), np.full(100, np.inf)])
    assert Sampled(np.asarray(3.0), draws).estimate() == Estimate(3.0, 3.0, np.inf)


def test_what_is_not_a_number_has_no_limits() -> None:
    with pytest.raises(ValueError, match="not a number on some resamples"):
        Sampled(np.asarray(1.0), np.asarray([1.0, np.nan, 2.0])).bounds()


def test_p_value_by_hand() -> None:
    # 3 of 199 draws are at or below 0: 2 * (3 + 1) / (199 + 1)
    draws = np.concatenate([[-1.0, -2.0, 0.0], np.ones(196)])
    assert Sampled(np.asarray(1.0), draws).p_value() == pytest.approx(0.04)
    assert Sampled(np.asarray(-1.0), -draws).p_value() == pytest.approx(0.04)


def test_p_value_is_never_zero_and_one_without_a_difference() -> None:
    assert Sampled(np.asarray(1.0), np.ones(99)).p_value() == pytest.approx(0.02)
    assert Sampled(np.asarray(0.0), np.zeros(99)).p_value() == 1.0


def test_an_absent_estimate_is_on_neither_side_of_zero() -> None:
    absent = Estimate.none("missing")
    assert not absent.above_zero
    assert not absent.below_zero
    assert Estimate(1.0, 0.5, 2.0).above_zero
    assert not Estimate(1.0, 0.0, 2.0).above_zero
    assert Estimate(-1.0, -2.0, -0.5).below_zero


def test_index_and_difference_keep_point_and_draws_together() -> None:
    sampled = Sampled(np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[[1.0, 2.0], [3.0, 5.0]]] * 4))
    gap = sampled[1, 1] - sampled[0][1]
    assert gap.point == 3.0
    np.testing.assert_array_equal(gap.draws, [3.0] * 4)


def test_the_point_is_the_statistic_of_the_data() -> None:
    scores = _scores(3, seed=1.0, prompt=1.0, both=1.0)
    sampled = Resampler([0, 1, 2], resamples=50).seeds_and_prompts(scores, PROMPTS)
    assert sampled.point == pytest.approx(scores.mean())
    assert sampled.draws.shape == (50,)


def test_the_same_names_give_the_same_draws_and_others_do_not() -> None:
    scores = _scores(3, seed=1.0, prompt=1.0)
    draws = [
        Resampler(seeds, resamples=50, root=root).seeds_and_prompts(scores, PROMPTS).draws
        for seeds, root in (([0, 1, 2], 0), ([0, 1, 2], 0), ([3, 4, 5], 0), ([0, 1, 2], 1))
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert not np.array_equal(draws[0], draws[3])


def test_methods_and_looks_are_paired() -> None:
    # what shifts every score of a run alike, however strongly, is gone from a difference
    scores = _scores(3, seed=5.0, prompt=5.0)
    both = Resampler([0, 1, 2], resamples=200).seeds_and_prompts(np.stack([scores, scores + 0.25]), PROMPTS)
    np.testing.assert_allclose((both[1] - both[0]).draws, 0.25)


def test_splits_with_the_same_prompts_are_paired_and_others_are_not() -> None:
    scores = _scores(1, prompt=1.0)
    resampler = Resampler([0], resamples=200)
    here = resampler.seeds_and_prompts(scores, PROMPTS)
    again = resampler.prompts(scores[0], PROMPTS)
    there = resampler.prompts(scores[0], tuple(reversed(PROMPTS)))
    np.testing.assert_allclose(here.draws, again.draws)
    assert abs(np.corrcoef(here.draws, there.draws)[0, 1]) < 0.3


def test_prompts_are_drawn_once_for_all_seeds() -> None:
    # three identical seeds are no more information about the prompts than one of them
    scores = _scores(1, prompt=1.0)
    one = Resampler([0], resamples=200).seeds_and_prompts(scores, PROMPTS)
    three = Resampler([0, 1, 2], resamples=200).seeds_and_prompts(np.repeat(scores, 3, axis=0), PROMPTS)
    np.testing.assert_allclose(one.draws, three.draws)


def test_one_seed_has_an_interval_over_prompts_only() -> None:
    scores = _scores(1, prompt=1.0, both=1.0)
    spread = Resampler([7], resamples=4000).seeds_and_prompts(scores, PROMPTS).draws.std()
    # the standard deviation of a bootstrap mean is that of the data over the root of their number
    assert spread == pytest.approx(scores.std() / np.sqrt(12), rel=0.05)
    flat = Resampler([7], resamples=50).seeds_and_prompts(np.full((1, 12), 0.3), PROMPTS)
    np.testing.assert_allclose(flat.draws, 0.3)


@pytest.mark.parametrize("seeds", [3, 4])
def test_without_spread_over_prompts_the_interval_is_about_students(seeds: int) -> None:
    scores = _scores(seeds, seed=1.0, root=seeds)
    found = Resampler(range(seeds)).seeds_and_prompts(scores, PROMPTS).estimate()
    half = stats.t.ppf(0.975, seeds - 1) * scores[:, 0].std(ddof=1) / np.sqrt(seeds)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.2)


def test_amounts_are_resampled_by_seed_alone() -> None:
    spent = np.array([[10.0, 11.0, 12.0], [20.0, 22.0, 24.0]])
    sampled = Resampler([0, 1, 2], resamples=100).amounts(spent)
    np.testing.assert_array_equal(sampled.point, [11.0, 22.0])
    np.testing.assert_allclose(sampled.draws[:, 1], 2 * sampled.draws[:, 0])


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_amounts_stay_above_zero_however_few_seeds_there_are(seeds: int) -> None:
    spent = np.array([np.linspace(1.0, 2.0, seeds), np.zeros(seeds), np.full(seeds, 7.0)])
    resampler = Resampler(range(seeds))
    assert (resampler.seeds(spent).draws[:, 0] < 0).any()
    amounts = resampler.amounts(spent)
    assert (amounts.draws[:, 0] > 0).all()
    assert set(amounts.draws[:, 1]) == {0.0}
    assert set(amounts.draws[:, 2]) == {7.0}
    np.testing.assert_array_equal(amounts.point, resampler.seeds(spent).point)


def test_a_small_spread_of_amounts_is_that_of_plain_deviations() -> None:
    spent = 1000.0 + np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    resampler = Resampler(range(5))
    plain, amounts = resampler.seeds(spent).estimate(), resampler.amounts(spent).estimate()
    assert (amounts.low, amounts.high) == pytest.approx((plain.low, plain.high), abs=0.02)


def test_against_a_single_run_the_interval_is_the_one_for_a_prediction() -> None:
    scores = _scores(3, seed=1.0)
    mean, run = (
        Resampler([0, 1, 2], resamples=500, for_one_run=flag).seeds_and_prompts(scores, PROMPTS)
        for flag in (False, True)
    )
    # variance s^2 / S of the mean, s^2 / S + s^2 of a further run's distance from it
    np.testing.assert_allclose(run.draws - run.point, np.sqrt(4) * (mean.draws - mean.point), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("seed", "prompt", "both"), [(1.0, 0.0, 1.0), (1.0, 3.0, 1.0), (0.2, 1.0, 1.0)],
    ids=["seeds vary", "both vary", "prompts vary"],
)  # fmt: skip
def test_intervals_cover_at_the_advertised_rate(seeds: int, seed: float, prompt: float, both: float) -> None:
    hits = 0
    for trial in range(300):
        scores = _scores(seeds, seed=seed, prompt=prompt, both=both, root=1000 + trial)
        resampler = Resampler(range(seeds), resamples=800, root=trial)
        found = resampler.seeds_and_prompts(scores, PROMPTS).estimate()
        hits += found.low <= 0 <= found.high
    # 300 trials have a standard error of 1.3 %; twelve prompts make the prompts' part slightly narrow
    assert 0.91 <= hits / 300 <= 1.0


@pytest.mark.slow
def test_p_values_reject_a_true_null_no_more_often_than_they_claim() -> None:
    rejected = 0
    for trial in range(1000):
        rng = np.random.default_rng(trial)
        shared = _scores(3, prompt=1.0, root=trial)
        pair = np.stack([shared + rng.normal(size=(3, 1)) + rng.normal(size=(3, 12)) for _ in range(2)])
        both = Resampler([0, 1, 2], resamples=800, root=trial).seeds_and_prompts(pair, PROMPTS)
        rejected += (both[0] - both[1]).p_value() < 0.05
    assert rejected / 1000 <= 0.07  # the standard error of 5 % is 0.7 %


def test_the_digits_shown_do_not_depend_on_the_root_seed() -> None:
    scores = _scores(5, seed=1.0, prompt=1.0, both=1.0)
    resamplers = [Resampler(range(5), resamples=RESAMPLES, root=root) for root in range(8)]
    limits = [resampler.seeds_and_prompts(scores, PROMPTS).bounds() for resampler in resamplers]
    low, high = np.array(limits).T
    half = (high - low).mean() / 2
    # limits are shown to a tenth of their half width or finer, never finer than a hundredth
    assert max(low.std(ddof=1), high.std(ddof=1)) < 0.02 * half


def test_seeds_are_widened_by_strata_of_the_chi_squared_distribution() -> None:
    scale = 5 / Resampler(range(5), resamples=2000)._scale ** 2
    assert stats.kstest(scale, stats.chi2(4).cdf).statistic <= 1 / 2000 + 1e-12  # plain draws have some 0.02
