from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vader_bench.errors import UserError
from vader_bench.seeding import numpy_stream
from vader_bench.stats.power import (
    Design,
    Variation,
    assign_raters,
    exact_power,
    plan_design,
    power_of_assignment,
    responses_needed,
    simulate_power,
)
from vader_bench.stats.preference import exact_p_value

NONE = Variation(prompt=0.0, rater=0.0)


def test_exact_power_by_hand() -> None:
    # of 6 answers only 0 and 6 wins have a p-value below 5 % (2 / 64); 1 and 5 have 14 / 64
    assert exact_power(0.6, 6) == pytest.approx(0.6**6 + 0.4**6)
    # of 5 none has: 2 / 32
    assert exact_power(0.9, 5) == 0.0


def test_the_paper_s_hundred_responses_would_miss_three_preferences_in_five_every_other_time() -> None:
    assert exact_power(0.6, 100) == pytest.approx(0.46, abs=0.005)


@given(st.floats(0.01, 0.99), st.integers(1, 60), st.sampled_from([0.05, 0.025, 0.01]))
def test_exact_power_sums_what_the_test_rejects_and_mirrors(share: float, number: int, alpha: float) -> None:
    wins = np.arange(number + 1)
    chances = np.array([1.0])
    for _ in range(number):
        chances = np.convolve(chances, [1 - share, share])
    rejected = [exact_p_value(int(k), int(number - k)) < alpha for k in wins]
    assert exact_power(share, number, alpha=alpha) == pytest.approx(float(chances[rejected].sum()), abs=1e-9)
    assert exact_power(1 - share, number, alpha=alpha) == pytest.approx(
        exact_power(share, number, alpha=alpha), abs=1e-9
    )


@pytest.mark.parametrize(
    ("share", "power", "alpha", "number"),
    [
        (0.55, 0.8, 0.05, 820), (0.6, 0.8, 0.05, 210), (0.65, 0.8, 0.05, 97), (0.7, 0.8, 0.05, 54),
        (0.75, 0.8, 0.05, 35), (0.6, 0.9, 0.05, 274), (0.6, 0.8, 0.025, 251), (0.7, 0.8, 0.05 / 6, 79),
    ],
)  # fmt: skip
def test_responses_needed_are_those_of_an_exact_search(
    share: float, power: float, alpha: float, number: int
) -> None:
    assert responses_needed(share, power=power, alpha=alpha) == number
    assert responses_needed(1 - share, power=power, alpha=alpha) == number


def test_no_number_above_the_one_needed_falls_short_but_some_below_it_reach() -> None:
    needed = responses_needed(0.7)
    assert exact_power(0.7, needed - 1) < 0.8
    assert min(exact_power(0.7, n) for n in range(needed, needed + 200)) >= 0.8
    assert max(exact_power(0.7, n) for n in range(needed - 10, needed)) >= 0.8


@given(st.integers(8, 40), st.integers(1, 4), st.integers(8, 30))
def test_raters_share_the_load_and_see_a_prompt_once(prompts: int, per_prompt: int, raters: int) -> None:
    design = Design(prompts, per_prompt, min(raters, prompts * per_prompt))
    turns = assign_raters(design, numpy_stream(0, "test"))
    assert turns.shape == (per_prompt, prompts)
    assert all(len(set(column)) == per_prompt for column in turns.T.tolist())
    for group in np.array_split(np.arange(design.raters), per_prompt):
        loads = [int((turns == rater).sum()) for rater in group]
        assert max(loads) - min(loads) <= 1


def test_without_variation_simulated_power_is_about_the_exact_one() -> None:
    # the t-test is less strict than the exact one: 3 points of power at 300 responses
    found = simulate_power(Design(300, 1, 300), 0.6, NONE)
    assert found == pytest.approx(exact_power(0.6, 300), abs=0.045)


@pytest.mark.parametrize(("alpha", "share_seen"), [(0.0185, 0.9**8), (0.025, 0.9**8 + 8 * 0.9**7 * 0.1)])
def test_simulated_power_of_eight_answers_by_hand(alpha: float, share_seen: float) -> None:
    # Seven of eight: t = .375 / sqrt(.875 * .125 / 7) = 3, whose p-value with 7 degrees of freedom is .020.
    # Six have t = 1.5, and eight, without spread, the exact p-value 2 / 256. The other side hardly occurs.
    found = simulate_power(Design(8, 1, 8), 0.9, NONE, alpha=alpha, studies=20_000)
    assert found == pytest.approx(share_seen, abs=0.015)


def test_simulation_mirrors_repeats_and_grows() -> None:
    design, spread = Design(100, 2, 60), Variation()
    found = simulate_power(design, 0.62, spread)
    assert simulate_power(design, 0.62, spread) == found
    assert simulate_power(design, 0.62, spread, root=1) != found
    assert simulate_power(design, 0.38, spread) == pytest.approx(found, abs=0.04)
    assert simulate_power(design, 0.7, spread) > found + 0.1
    assert simulate_power(design, 0.62, spread, alpha=0.01) < found - 0.1
    assert simulate_power(design, 0.62, Variation(rater=2.0)) < found - 0.1


def test_a_nearly_certain_preference_is_seen() -> None:
    assert simulate_power(Design(8, 1, 8), 1 - 1e-9, NONE, studies=20) == 1.0


def test_a_plan_is_the_smallest_that_reaches_its_power() -> None:
    plan = plan_design(0.65, Variation(), raters=30)
    assert plan.power >= 0.8
    assert plan.independent == responses_needed(0.65)
    assert plan.power == simulate_power(plan.design, 0.65, Variation())
    smaller = Design(plan.design.prompts - 10, 2, 30)
    assert simulate_power(smaller, 0.65, Variation()) < 0.8


def test_the_largest_study_is_tried_before_a_power_is_called_out_of_reach() -> None:
    # 630 prompts are too few, and twice as many are more than a study may have
    assert simulate_power(Design(630, 2, 200), 0.54, Variation()) < 0.8
    plan = plan_design(0.54, Variation(), raters=200)
    assert plan.power >= 0.8
    assert 630 < plan.design.prompts <= 1000


def test_more_responses_do_not_make_up_for_few_raters_who_differ() -> None:
    with pytest.raises(UserError, match="not reached with 8 raters"):
        plan_design(0.6, Variation(rater=2.0), raters=8)


@pytest.mark.parametrize(
    ("design", "wrong"),
    [
        ((2, 2, 3), "fewer than 3 prompts or raters"),
        ((10, 2, 2), "fewer than 3 prompts or raters"),
        ((10, 0, 10), "has no responses"),
        ((10, 9, 8), "too few raters for one prompt"),
        ((10, 1, 11), "more raters than responses"),
    ],
)
def test_designs_that_cannot_be_are_refused(design: tuple[int, int, int], wrong: str) -> None:
    with pytest.raises(UserError, match=wrong):
        Design(*design)


def test_shares_that_are_no_preference_are_refused() -> None:
    with pytest.raises(UserError, match="too near one half"):
        responses_needed(0.5)
    with pytest.raises(UserError, match="share 60: is not between"):
        plan_design(60, Variation())
    with pytest.raises(UserError, match=r"power 1\.0: is not between 0 and 1; give a fraction, such as 0\.8"):
        responses_needed(0.6, power=1.0)


@pytest.mark.parametrize("deviation", [-1.0, np.inf, np.nan])
def test_what_is_no_standard_deviation_is_refused(deviation: float) -> None:
    with pytest.raises(
        UserError, match=r"standard deviation of prompts .* is none; give 0 or a number above"
    ):
        Variation(prompt=deviation)
    with pytest.raises(UserError, match="standard deviation of raters"):
        Variation(rater=deviation)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("design", "power"),
    [((100, 3, 60), 0.84), ((150, 2, 60), 0.86), ((300, 1, 60), 0.90), ((200, 2, 80), 0.95)],
)
def test_simulated_power_is_that_of_an_independent_simulation(
    design: tuple[int, int, int], power: float
) -> None:
    # both have a standard error of about 1 %
    assert simulate_power(Design(*design), 0.6, Variation()) == pytest.approx(power, abs=0.035)


def test_the_power_of_three_to_seven_raters_is_reported() -> None:
    powers = [simulate_power(Design(40, raters, raters), 0.6, Variation()) for raters in (3, 4, 7)]
    # .18, .25, .48 by another simulation of all raters on all prompts
    assert powers == pytest.approx([0.18, 0.25, 0.48], abs=0.04)


def test_the_power_of_an_assignment_is_that_of_its_design() -> None:
    design = Design(60, 2, 20)
    stream = numpy_stream(5, "test")
    raters = assign_raters(design, stream).ravel()
    prompts = np.tile(np.arange(100, 160), 2)
    found = power_of_assignment(prompts, raters, 0.65, Variation(), stream)
    assert found == pytest.approx(simulate_power(design, 0.65, Variation()), abs=0.04)
    assert power_of_assignment(prompts, raters % 2, 0.9, Variation(), stream) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "design", [(100, 3, 60), (20, 10, 40), (100, 1, 20), (60, 4, 12), (40, 3, 3), (40, 4, 4), (5, 12, 60)]
)
def test_without_a_preference_the_test_errs_as_often_as_it_says(design: tuple[int, int, int]) -> None:
    assert 0.02 <= simulate_power(Design(*design), 0.5, Variation()) <= 0.075
