from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.support.results import Invented, make_record
from vader_bench.report.verdicts import verdicts
from vader_bench.stats import Analysis, Target, analyse, build_panel

WORLD = Invented(rewards=("red",))
METHODS = ("vader", "ddpo", "diffusion-dpo")


def _analysis(world: Invented, leave_out: str = "", target: Target | None = None) -> Analysis:
    runs = [("base", 0), *((m, seed) for m in world.methods for seed in world.seeds)]
    records = [make_record(world, m, "red", seed) for m, seed in runs if m != leave_out]
    panel = build_panel(records, world.methods, world.seeds)
    assert panel is not None
    return analyse(panel, target, resamples=2000)


def test_a_winner_is_named_with_its_lead() -> None:
    lines = verdicts(_analysis(WORLD), METHODS)
    assert lines[0].startswith("vader is ahead at 64 reward queries: held-out reward 0.7")
    assert "above diffusion-dpo, the next best, by interval and after Holm's correction (p = 0.0" in lines[0]
    assert lines[-1] == "Above best-of-4 of the base model, by interval: vader."


def test_no_winner_is_named_where_intervals_overlap() -> None:
    gains = {"vader": 0.10, "ddpo": 0.09, "diffusion-dpo": 0.0}
    lines = verdicts(_analysis(replace(WORLD, gains=gains, seed_noise=0.05)), METHODS)
    assert lines[0].startswith(
        "No winner at 64 reward queries. By interval vader is not distinguished from ddpo ("
    )
    assert " after Holm" not in lines[0]
    assert "is ahead" not in lines[0]


def test_holms_correction_is_named_where_it_decides() -> None:
    analysis = _analysis(WORLD)
    pair, *others = analysis.pairs
    corrected = [replace(pair, p_holm=0.056), *others]
    line = verdicts(replace(analysis, pairs=corrected, winner=None), METHODS)[0]
    assert pair.difference.above_zero
    assert line.startswith(
        "No winner at 64 reward queries. After Holm's correction over 3 pairs vader is not distinguished "
        "from ddpo (0.3"
    )
    assert re.search(
        r"\], p = 0\.056, found from 0\.[0-9]+\)\. In brackets: the difference with its uncorrected 95 % "
        r"interval, the corrected p-value and the size from which on a difference would be found with "
        r"probability 0\.8\.$",
        line,
    )


def test_those_that_the_interval_leaves_open_and_those_of_holms_correction_are_two_lists() -> None:
    gains = {"vader": 0.3, "ddpo": 0.29, "diffusion-dpo": 0.0}
    analysis = _analysis(replace(WORLD, gains=gains, seed_noise=0.05))
    pairs = [replace(pair, p_holm=0.06) for pair in analysis.pairs]
    line = verdicts(replace(analysis, pairs=pairs, winner=None), METHODS)[0]
    assert re.match(
        r"No winner at 64 reward queries\. By interval vader is not distinguished from ddpo \([^)]*\)\. "
        r"After Holm's correction over 3 pairs it is not distinguished from diffusion-dpo \([^)]*p = 0\.06"
        r"[^)]*\)\. In",
        line,
    )


def test_a_difference_without_spread_has_no_size_from_which_it_is_found() -> None:
    pairs = [replace(pair, smallest=None, p_holm=0.06) for pair in _analysis(WORLD).pairs]
    line = verdicts(replace(_analysis(WORLD), pairs=pairs, winner=None), METHODS)[0]
    assert line.endswith(
        "In brackets: the difference with its uncorrected 95 % interval and the corrected p-value."
    )


def test_ahead_of_the_others_but_not_of_the_base_model_is_no_win() -> None:
    gains = {"vader": 0.0, "ddpo": -0.3, "diffusion-dpo": -0.3}
    lines = verdicts(_analysis(replace(WORLD, gains=gains, seed_noise=0.0)), METHODS)
    assert lines[0] == (
        "No winner at 64 reward queries: vader is ahead of the other methods but not above the base model by "
        "interval."
    )
    assert "below it: ddpo and diffusion-dpo; not distinguished from it: vader (a gain of " in lines[1]


def test_what_the_seeds_and_prompts_can_find_is_said_beside_what_choosing_gains() -> None:
    analysis = _analysis(WORLD)
    base, *_, best = analysis.untrained
    gained = best.statistics["heldout_reward"].value - base.statistics["heldout_reward"].value
    (line,) = (line for line in verdicts(analysis, METHODS) if " with probability 0.8 if it is " in line)
    assert line.startswith(f"{len(WORLD.seeds)} seeds and ")
    sizes = re.findall(r"([0-9.]+) with (vader|ddpo|diffusion-dpo)", line)
    assert [name for _, name in sizes] == list(METHODS)
    for size, name in sizes:
        arm = analysis.arm(name)
        assert arm is not None
        assert float(size) == pytest.approx(arm.statistics["smallest_gain"].value, rel=0.06)
    assert line.endswith(f"; best-of-4 of the base model gains {gained:.2g}.")


def test_one_seed_says_nothing_of_what_could_be_found() -> None:
    lines = verdicts(_analysis(replace(WORLD, seeds=(0,))), METHODS)
    assert not any("with probability" in line for line in lines)


def test_one_seed_says_so_and_names_no_winner() -> None:
    lines = verdicts(_analysis(replace(WORLD, seeds=(0,))), METHODS)
    assert lines[0].startswith("One seed: the intervals cover prompts only")
    assert "no winner is named. In this run vader ended highest (" in lines[0]


def test_equal_methods_of_one_seed_end_equal() -> None:
    same = replace(WORLD, seeds=(0,), gains=dict.fromkeys(METHODS, 0.1), seed_noise=0.0, video_noise=0.0)
    assert "In this run the highest methods ended equal" in verdicts(_analysis(same), METHODS)[0]


def test_a_single_method_is_compared_with_nothing() -> None:
    lines = verdicts(_analysis(replace(WORLD, methods=("ddpo",))), ("ddpo",))
    assert lines[0].startswith("Only ddpo has results")
    assert not any("best baseline" in line for line in lines)


def test_the_threshold_is_reported_for_every_other_method() -> None:
    lines = verdicts(_analysis(replace(WORLD, seed_noise=0.0, video_noise=0.0)), METHODS)
    start = (
        "vader reaches the final reward of diffusion-dpo, the best baseline, after 7 [7, 7] queries, 8.75x "
    )
    (line,) = (line for line in lines if line.startswith(start))
    assert " fewer; both are read off a straight line to its first look, at 16 queries. ddpo" in line
    assert line.endswith("ddpo does not reach the final reward of diffusion-dpo, the best baseline.")
    assert not [line for line in lines if "would be found" in line]  # without spread nothing is known of it


def test_a_baseline_that_ends_higher_and_sets_no_threshold_is_named() -> None:
    exact = _analysis(replace(WORLD, seed_noise=0.0, video_noise=0.0))
    lines = verdicts(replace(exact, passed_over=["ddpo"]), METHODS)
    (line,) = (line for line in lines if "best baseline" in line)
    assert line.startswith(
        "diffusion-dpo is the best baseline, since ddpo, which ends higher, does not end above the base "
        "model by interval. vader reaches the final reward of diffusion-dpo, after 7 [7, 7] queries"
    )
    assert line.endswith("ddpo does not reach the final reward of diffusion-dpo.")


def test_all_that_do_not_reach_it_are_named_in_one_sentence() -> None:
    gains = {"vader": 0.1, "ddpo": 0.0, "diffusion-dpo": 0.2}
    exact = replace(WORLD, gains=gains, seed_noise=0.0, video_noise=0.0)
    (line,) = (line for line in verdicts(_analysis(exact), METHODS) if "best baseline" in line)
    assert line == "vader and ddpo do not reach the final reward of diffusion-dpo, the best baseline."
    found = verdicts(_analysis(exact, target=Target("diffusion-dpo", 64)), METHODS)
    (line,) = (line for line in found if "had" in line)
    assert line == "vader and ddpo do not reach what diffusion-dpo had reached after 64 queries."


def test_only_what_lies_before_the_first_look_is_said_to_be_read_off_a_line_to_it() -> None:
    gains = {"vader": 0.4, "ddpo": 0.0, "diffusion-dpo": 0.2}
    lines = verdicts(_analysis(replace(WORLD, gains=gains, seed_noise=0.0, video_noise=0.0)), METHODS)
    (line,) = (line for line in lines if line.startswith("vader reaches"))
    (queries,) = re.findall(r"vader reaches the final reward of diffusion-dpo, [^0-9]* ([0-9]+) ", line)
    assert int(queries) > WORLD.every
    assert "straight line" not in line


def test_a_baseline_below_the_base_model_sets_no_threshold() -> None:
    gains = {"vader": 0.4, "ddpo": -0.1, "diffusion-dpo": -0.2}
    lines = verdicts(_analysis(replace(WORLD, gains=gains)), METHODS)
    assert (
        "The best baseline, ddpo, does not end above the base model by interval: there is no threshold to "
        "reach." in lines
    )


@pytest.mark.parametrize(
    ("slope", "words"),
    [
        (0.2, "rose with vader, ddpo and diffusion-dpo, by interval"),
        (-0.2, "rose with no method and fell with vader (-0.08"),
        (0.0, "rose with no method, by interval"),
    ],
)
def test_a_hacked_reward_shows_in_its_truth(slope: float, words: str) -> None:
    world = replace(WORLD, seed_noise=0.001, gold=lambda gain: 0.5 + slope * gain)
    said = verdicts(_analysis(world), METHODS)
    (truth,) = (line for line in said if line.startswith("The truth that the reward imitates, which no"))
    assert words in truth
    hacked = "The reward rose meanwhile with vader, ddpo and diffusion-dpo, a sign of a hacked reward."
    assert truth.endswith(hacked) == (slope < 0)
    (prompt,) = (line for line in said if line.startswith("The share of the prompt that the oracle sees"))
    assert prompt.endswith("The reward rose meanwhile with vader, ddpo and diffusion-dpo.")


def test_a_truth_that_rose_and_did_not_stay_is_reported_with_its_looks() -> None:
    gains = {"vader": 0.4, "ddpo": 0.2, "diffusion-dpo": 0.0}
    world = replace(WORLD, seed_noise=0.001, gains=gains, gold=lambda gain: 0.5 + gain * (0.4 - gain))
    found = _analysis(world)
    (said,) = (line for line in verdicts(found, METHODS) if line.startswith("Along the budget"))
    assert said.startswith(
        "Along the budget the truth had risen with vader, by interval at each look by itself"
    )
    highest = 0.175 * (0.4 - 0.175)  # of gains of 0.175, 0.3, 0.375 and 0.4
    assert re.search(
        rf"after 16, 32 and 48 queries, by {highest:.3f}\d* \[.*\] after 16; it does not end", said
    )
    own = replace(found, panel=replace(found.panel, gold_curve=found.panel.curve))
    assert not [line for line in verdicts(own, METHODS) if line.startswith("Along the budget")]


def test_a_fall_of_the_truth_is_reported_whatever_the_reward_did() -> None:
    gains = {"vader": 0.4, "ddpo": 0.04, "diffusion-dpo": -0.2}
    world = replace(WORLD, seed_noise=0.001, gains=gains, gold=lambda gain: 0.5 - abs(gain))
    (truth,) = (line for line in verdicts(_analysis(world), METHODS) if line.startswith("The truth"))
    assert "and fell with vader (-0.4" in truth
    assert "and diffusion-dpo (-0.1999 " in truth
    assert "The reward rose meanwhile with vader and ddpo, a sign" in truth


def test_without_measures_or_a_base_run_nothing_is_said_of_them() -> None:
    world = replace(WORLD, gold=lambda _: None, prompt_share=lambda _: None)
    lines = verdicts(_analysis(world, leave_out="base"), METHODS)
    assert not any(word in line for line in lines for word in ("truth", "oracle", "best-of"))


def test_of_a_formula_no_truth_is_said_to_be_measured_beside_it() -> None:
    panel = _analysis(WORLD).panel
    lines = verdicts(analyse(replace(panel, gold_curve=panel.curve), resamples=2000), METHODS)
    assert "The reward is a formula and its own truth, so that no truth is measured beside it." in lines
    assert not [line for line in lines if "which no method trains on, rose" in line and "truth" in line]
    assert [line for line in lines if line.startswith("The share of the prompt")]
    assert not [line for line in verdicts(_analysis(WORLD), METHODS) if "its own truth" in line]


def test_missing_methods_are_named() -> None:
    assert verdicts(_analysis(WORLD, leave_out="ddpo"), METHODS)[-1] == "Missing: ddpo."


def test_it_is_reported_what_others_need_to_reach_the_target() -> None:
    exact = replace(WORLD, seed_noise=0.0, video_noise=0.0)
    found = verdicts(_analysis(exact, target=Target("diffusion-dpo", 32)), METHODS)
    (line,) = (line for line in found if "had" in line)
    assert line.startswith("vader needs 0.171x")
    assert (
        " after 32 queries; both are read off a straight line to its first look, at 16 queries. ddpo" in line
    )
    assert line.endswith("ddpo does not reach what diffusion-dpo had reached after 32 queries.")
    none = replace(exact, gains={"vader": 0.4, "ddpo": 0.0, "diffusion-dpo": 0.1})
    lines = verdicts(_analysis(none, target=Target("ddpo", 32)), METHODS)
    assert "There is no target: ddpo was not above the base model by interval after 32 queries." in lines
    away = verdicts(_analysis(exact, leave_out="vader", target=Target("vader", 32)), METHODS)
    assert "There is no target: vader, which is to set it, has no results." in away
    assert not [line for line in verdicts(_analysis(exact), METHODS) if "target" in line]


def test_arms_that_are_all_of_a_method_are_named_together() -> None:
    gains = {"vader": 0.3, "a": 0.1, "b": 0.1, "c": 0.1}
    analysis = _analysis(replace(WORLD, gains=gains, methods=tuple(gains)))
    families = {"vader": ["vader"], "ddpo": ["a", "b", "c"]}
    alone, told = (verdicts(analysis, tuple(gains), found) for found in ({}, families))
    assert any("above it: vader, a, b and c." in line for line in alone)
    assert [line.replace("vader, a, b and c", "all arms of ddpo, and vader") for line in alone] == told
