from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.support.results import Invented, make_record
from vader_bench.stats import Analysis, Estimate, Target, analyse, build_panel, run_curve

# Without noise a method's curve is gain * (1 - (1 - share)^2): .4375, .75, .9375, 1 of its final gain at the
# four looks. Device times are those of the seeds 0, 1, 2 times 1, 1.02, 1.04, so 1.02 times the stated ones.
EXACT = Invented(rewards=("red",), seed_noise=0.0, video_noise=0.0)


def _analysis(world: Invented, base: bool = True, target: Target | None = None) -> Analysis:
    runs = [(method, seed) for method in world.methods for seed in world.seeds]
    runs = [("base", world.seeds[0]), *runs] if base else runs
    records = [make_record(world, method, "red", seed) for method, seed in runs]
    panel = build_panel(records, world.methods, world.seeds)
    assert panel is not None
    return analyse(panel, target, resamples=2000)


@pytest.fixture(scope="module")
def exact() -> Analysis:
    return _analysis(EXACT)


def _stats(analysis: Analysis, arm: str) -> dict[str, Estimate]:
    found = analysis.arm(arm)
    assert found is not None
    return found.statistics


def _of(analysis: Analysis, arm: str, key: str) -> Estimate:
    return _stats(analysis, arm)[key]


def test_rows_are_base_best_of_and_methods(exact: Analysis) -> None:
    assert [arm.name for arm in exact.arms] == [
        "base", "best-of-2", "best-of-4", "vader", "ddpo", "diffusion-dpo",
    ]  # fmt: skip
    assert [arm.seeds for arm in exact.arms] == [0, 0, 0, 3, 3, 3]


def test_gain_is_paired_with_the_base_model(exact: Analysis) -> None:
    gain = _of(exact, "vader", "gain")
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.4, 0.4, 0.4))
    reward, base = _of(exact, "vader", "heldout_reward"), _of(exact, "base", "heldout_reward")
    assert reward.value - base.value == pytest.approx(0.4)
    assert reward.low < reward.value < reward.high


def test_area_by_hand(exact: Analysis) -> None:
    # trapezoids over four equal steps: (0 / 2 + .4375 + .75 + .9375 + 1 / 2) / 4 = .65625 of the final gain
    start = exact.bands["ddpo"].value[0]
    assert _of(exact, "ddpo", "area").value - start == pytest.approx(0.65625 * 0.04)


def test_threshold_and_speed_up_by_hand(exact: Analysis) -> None:
    # vader has .4 * .4375 = .175 at 16 queries, so it crosses .08 at 16 * .08 / .175; 64 over that is 8.75
    assert exact.best_baseline == "diffusion-dpo"
    assert _of(exact, "ddpo", "threshold").value == exact.bands["diffusion-dpo"].value[-1]
    assert _of(exact, "vader", "queries_to_threshold").value == pytest.approx(16 * 0.08 / 0.175)
    assert _of(exact, "vader", "queries_speed_up").value == pytest.approx(8.75)
    assert _of(exact, "vader", "flops_speed_up").value == pytest.approx(8.75)
    # 10 s a look against 70 s in all, both times 1.02
    assert _of(exact, "vader", "device_seconds_to_threshold").value == pytest.approx(10.2 * 0.08 / 0.175)
    assert _of(exact, "vader", "device_seconds_speed_up").value == pytest.approx(7 * 0.175 / 0.08)


def test_the_best_baseline_needs_what_it_has_spent(exact: Analysis) -> None:
    assert _of(exact, "diffusion-dpo", "queries_to_threshold") == Estimate(64, 64, 64)
    assert _of(exact, "diffusion-dpo", "queries_speed_up") == Estimate(1, 1, 1)


def test_what_stays_below_the_threshold_never_reaches_it(exact: Analysis) -> None:
    assert _of(exact, "ddpo", "queries_to_threshold").value == math.inf
    assert _of(exact, "ddpo", "queries_speed_up") == Estimate(0, 0, 0)


@pytest.mark.parametrize("gain", [0.0, -0.05])
def test_a_threshold_not_above_the_base_model_is_undefined(gain: float) -> None:
    analysis = _analysis(replace(EXACT, gains={"vader": 0.4, "ddpo": gain, "diffusion-dpo": gain - 0.1}))
    assert (analysis.best_baseline, analysis.passed_over) == ("ddpo", [])
    assert _of(analysis, "vader", "queries_speed_up").absent == "undefined"
    assert _of(analysis, "ddpo", "device_seconds_to_threshold").absent == "undefined"


def test_a_baseline_not_above_the_base_model_by_interval_sets_no_threshold() -> None:
    gains = {"vader": 0.4, "ddpo": 0.01, "diffusion-dpo": 0.01}
    analysis = _analysis(replace(EXACT, gains=gains, seed_noise=0.01), target=Target("ddpo", 64))
    gain = _of(analysis, str(analysis.best_baseline), "gain")
    assert gain.low <= 0 < gain.value
    assert _of(analysis, "vader", "queries_speed_up").absent == "undefined"
    assert _of(analysis, "vader", "queries_to_target").absent == "undefined"


def test_a_baseline_that_ends_higher_by_luck_is_passed_over() -> None:
    """DDPO's seeds lie far apart; Diffusion-DPO's end lower on average, and all above the base model."""
    panel = _analysis(replace(EXACT, gains={"vader": 0.4, "ddpo": 0.1, "diffusion-dpo": 0.08})).panel
    curve = panel.curve.copy()
    ddpo = panel.methods.index("ddpo")
    spread = np.linspace(-0.3, 0.3, len(panel.seeds))
    curve[ddpo, -1] += spread[:, None]
    splits = {name: replace(split, reward=split.reward.copy()) for name, split in panel.splits.items()}
    for split in splits.values():
        split.reward[ddpo, -1] += spread[:, None]
    found = analyse(replace(panel, curve=curve, splits=splits), resamples=2000)
    assert (found.best_baseline, found.passed_over) == ("diffusion-dpo", ["ddpo"])
    assert _of(found, "ddpo", "heldout_reward").value > _of(found, "diffusion-dpo", "heldout_reward").value
    # vader has .4 * .4375 = .175 at 16 queries
    assert _of(found, "vader", "queries_to_threshold").value == pytest.approx(16 * 0.08 / 0.175)


def test_a_target_by_hand(exact: Analysis) -> None:
    # diffusion-dpo has .08 * .75 = .06 at 32 queries; vader crosses it at 16 * .06 / .175
    found = _analysis(EXACT, target=Target("diffusion-dpo", 32))
    assert _of(found, "diffusion-dpo", "queries_to_target").value == pytest.approx(1)
    assert _of(found, "vader", "queries_to_target").value == pytest.approx(16 * 0.06 / 0.175 / 32)
    assert _of(found, "ddpo", "queries_to_target").value == math.inf
    seconds = 40 * (16 * 0.06 / 0.175) / 64 / (70 * 32 / 64)
    assert _of(found, "vader", "device_seconds_to_target").value == pytest.approx(seconds)
    assert "queries_to_target" not in _stats(exact, "vader")


def test_a_target_of_few_seeds_has_intervals_of_all_axes() -> None:
    """With three seeds some resamples had spent nothing, and zero over zero left no interval."""
    panel = _analysis(replace(EXACT, seed_noise=0.01)).panel
    for spread in (0.02, 0.3):
        seconds = panel.spent["device_seconds"] * (1 + spread * np.asarray([-1.0, 0.0, 1.0]))
        spent = panel.spent | {"device_seconds": seconds}
        found = analyse(replace(panel, spent=spent), Target("diffusion-dpo", 32))
        for arm in ("vader", "diffusion-dpo"):
            time = _of(found, arm, "device_seconds_to_target")
            assert 0 < time.low <= time.value <= time.high


@pytest.mark.parametrize(
    ("target", "reason"), [(Target("absent", 32), "missing"), (Target("ddpo", 32), "undefined")]
)
def test_a_target_that_is_not_there_or_not_above_the_base_model(target: Target, reason: str) -> None:
    found = _analysis(replace(EXACT, gains={"vader": 0.4, "ddpo": 0.0, "diffusion-dpo": 0.08}), target=target)
    assert _of(found, "vader", "queries_to_target").absent == reason


def test_records_say_which_methods_are_baselines() -> None:
    runs = [(method, seed) for method in EXACT.methods for seed in EXACT.seeds]
    records = [make_record(EXACT, method, "red", seed) for method, seed in runs]
    records = [record.model_copy(update={"baseline": record.method == "vader"}) for record in records]
    panel = build_panel(records, EXACT.methods, EXACT.seeds)
    assert panel is not None
    assert analyse(panel, resamples=2000).best_baseline == "vader"


def test_without_a_baseline_there_is_no_threshold() -> None:
    analysis = _analysis(replace(EXACT, methods=("vader", "other")))
    assert analysis.best_baseline is None
    assert _of(analysis, "vader", "threshold").absent == "no baseline"
    assert _of(analysis, "vader", "flops_speed_up").absent == "no baseline"


def test_at_equal_device_time_every_curve_is_cut_at_the_same_amount(exact: Analysis) -> None:
    # the least is vader's 40.8 s; ddpo, at 91.8 s in all, is then 4/9 through its budget:
    # .4375 + (4/9 - 1/4) / (1/4) * (.75 - .4375) = .6806 of its gain
    assert exact.cuts["device_seconds"] == pytest.approx(40.8)
    start = exact.bands["ddpo"].value[0]
    found = _of(exact, "ddpo", "reward_at_equal_device_seconds").value - start
    assert found == pytest.approx(0.04 * (0.4375 + (4 / 9 - 1 / 4) * 4 * 0.3125))


def test_transfer_is_held_out_gain_over_train_gain(exact: Analysis) -> None:
    # the invented train gain is 1.2 times the held-out one
    assert _of(exact, "vader", "gain_train").value == pytest.approx(0.48)
    assert _of(exact, "vader", "heldout_over_train").value == pytest.approx(1 / 1.2)


@pytest.mark.parametrize("gain", [0.0, -0.05])
def test_transfer_without_a_train_gain_is_undefined(gain: float) -> None:
    analysis = _analysis(replace(EXACT, gains={"vader": gain}))
    assert _of(analysis, "vader", "heldout_over_train").absent == "undefined"


def test_gold_and_its_gain(exact: Analysis) -> None:
    assert _of(exact, "vader", "gold").value == pytest.approx(0.58)
    assert _of(exact, "vader", "gold_gain").value == pytest.approx(0.08)
    assert _of(exact, "vader", "prompt_share").value == pytest.approx(0.71)
    assert _of(exact, "vader", "prompt_share_gain").value == pytest.approx(-0.04)
    without = _analysis(replace(EXACT, gold=lambda _: None))
    assert _of(without, "vader", "prompt_share_gain").value == pytest.approx(-0.04)
    assert _of(without, "vader", "gold").absent == "not measured"
    base = without.arm("base")
    assert base is not None
    assert "gold" not in base.statistics


def test_diversity_over_seeds_and_of_one_seed(exact: Analysis) -> None:
    assert _of(exact, "vader", "diversity").value == pytest.approx(0.3 - 0.1 * 0.4)
    single = _of(_analysis(replace(EXACT, seeds=(0,))), "vader", "diversity")
    assert single.value == pytest.approx(0.26)
    assert math.isnan(single.low)
    assert _of(_analysis(replace(EXACT, samples=1)), "vader", "diversity").absent == "not measured"


def test_best_of_n_and_the_margin_over_it(exact: Analysis) -> None:
    base = exact.panel.base
    assert base is not None
    assert base.reward.shape == (6, 4)  # on the prompts of the curve
    # the best of all four samples is the plain maximum; choosing adds what it has beyond their mean
    best = exact.bands["vader"].value[0] + (base.reward.max(axis=1) - base.reward.mean(axis=1)).mean()
    assert _of(exact, "best-of-4", "heldout_reward").value == pytest.approx(best)
    reward = _of(exact, "vader", "heldout_reward").value
    assert _of(exact, "vader", "margin_over_best_of").value == pytest.approx(reward - best)


def test_without_the_base_run_its_numbers_are_missing() -> None:
    analysis = _analysis(EXACT, base=False)
    assert analysis.arm("best-of-2") is None
    assert _of(analysis, "vader", "margin_over_best_of").absent == "missing"
    assert analysis.arm("base") is not None
    assert [arm.name for arm in analysis.untrained] == ["base"]


def test_bands_hold_the_curve_and_every_seed(exact: Analysis) -> None:
    band = exact.bands["vader"]
    np.testing.assert_allclose(band.value - band.value[0], [0, 0.175, 0.3, 0.375, 0.4])
    assert band.runs.shape == (3, 5)
    np.testing.assert_allclose(band.runs_spent["device_seconds"][:, -1], [40, 40.8, 41.6])
    assert (band.low <= band.value).all()
    assert (band.value <= band.high).all()


def test_a_band_is_the_interval_of_the_gain_around_the_curve(exact: Analysis) -> None:
    band, gain = exact.bands["vader"], _of(exact, "vader", "gain")
    assert band.low[0] == band.value[0] == band.high[0]
    assert gain.low == pytest.approx(band.low[-1] - band.value[0])
    assert gain.high == pytest.approx(band.high[-1] - band.value[0])


def test_one_thing_has_one_number(exact: Analysis) -> None:
    base, band = exact.panel.base, exact.bands["vader"]
    assert base is not None
    assert _of(exact, "base", "heldout_reward").value == pytest.approx(band.value[0])
    assert _of(exact, "vader", "heldout_reward").value == pytest.approx(band.value[-1])
    record = make_record(EXACT, "base", "red", 0)
    assert run_curve(record)[0][1] == pytest.approx(band.value[0])
    # best-of-1 would be the base model itself
    added = base.reward.max(axis=1).mean() - base.reward.mean()
    assert _of(exact, "best-of-4", "heldout_reward").value == pytest.approx(band.value[0] + added)


def test_the_winner_is_found(exact: Analysis) -> None:
    assert exact.winner == "vader"
    assert _analysis(replace(EXACT, seeds=(0,))).winner is None
