"""Further measures of one arm, on numbers that can be checked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.support.results import Invented, make_record
from vader_bench.records.record import Evaluation, Extension, FrontierPoint, Record, VideoScore
from vader_bench.stats.measures import course, drift, frontier, transfer

SEEDS = (0, 1, 2)
PROMPTS = ("a", "b")


def look(queries: int, reward: float, gold: float | None = None, **fields: Any) -> Evaluation:
    """Return a look at two prompts; the second one's scores are 0.1 higher."""
    scores = [
        VideoScore(
            prompt=prompt,
            sample=0,
            reward=reward + 0.1 * index,
            gold=gold,
            prompt_share=None if gold is None else gold / 2,
            others={"sharp": 2 * reward},
        )
        for index, prompt in enumerate(PROMPTS)
    ]
    return Evaluation(split="heldout", queries=queries, flops=0, device_seconds=0, scores=scores, **fields)


def records(**fields: Any) -> list[Record]:
    """Return one record a seed; a field may be a function of the seed."""
    made = [make_record(Invented(seeds=SEEDS), "vader", "red", seed) for seed in SEEDS]
    return [
        record.model_copy(
            update={name: value(record.seed) if callable(value) else value for name, value in fields.items()}
        )
        for record in made
    ]


def test_every_judge_says_what_it_gained() -> None:
    runs = records(evaluations=lambda seed: [look(0, 0.5), look(8, 9.0), look(16, 0.7 + 0.01 * seed)])
    found = transfer(runs)
    assert list(found) == ["red", "sharp"]
    assert found["red"].value == pytest.approx(0.21)
    assert found["sharp"].value == pytest.approx(0.42)
    assert found["red"].low < 0.21 < found["red"].high
    assert found["sharp"].above_zero


def test_a_course_starts_at_no_gain_and_tells_when_a_reward_is_hacked() -> None:
    runs = records(
        evaluations=lambda seed: [
            look(0, 0.5, 0.8, diversity=0.2, motion=0.1, path_kl=0.0),
            look(8, 0.6 + 0.001 * seed, 0.8, diversity=0.15, motion=0.1, path_kl=3.0 + seed),
            look(16, 0.9 + 0.001 * seed, 0.3 + 0.001 * seed, diversity=0.05, motion=0.0, path_kl=9.0),
        ]
    )
    start, middle, end = course(runs)
    assert (start.queries, middle.queries, end.queries) == (0, 8, 16)
    assert start.gain.value == start.gold_gain.value == start.path_kl.value == 0
    assert middle.gain.value == pytest.approx(0.101)
    assert middle.path_kl.value == 4.0
    assert middle.path_kl.low < 4 < middle.path_kl.high
    assert end.gold_gain.value == pytest.approx(-0.499)
    assert (end.diversity.value, end.motion.value) == pytest.approx((0.05, 0.0))
    assert end.prompt_share_gain.value == pytest.approx(-0.2495)
    assert [state.hacked for state in (start, middle, end)] == [False, False, True]
    assert [state.off_prompt for state in (start, middle, end)] == [False, False, True]


def test_a_truth_that_falls_and_a_prompt_that_is_left_are_two_things() -> None:
    def run(seed: int) -> list[Evaluation]:
        end = look(8, 0.9 + 0.001 * seed, 0.5)
        scores = [score.model_copy(update={"prompt_share": 0.1 + 0.001 * seed}) for score in end.scores]
        return [look(0, 0.5, 0.5), end.model_copy(update={"scores": scores})]

    state = course(records(evaluations=run))[-1]
    assert (state.hacked, state.off_prompt) == (False, True)


def test_what_was_not_measured_is_said_to_be_so() -> None:
    [start, _] = course(records(evaluations=[look(0, 0.5), look(8, 0.6)]))
    for absent in (start.gold_gain, start.prompt_share_gain, start.diversity, start.motion, start.path_kl):
        assert absent.absent == "not measured"
    assert not start.hacked
    assert not start.off_prompt


def test_a_course_compares_the_videos_that_all_looks_share() -> None:
    more = look(8, 0.6)
    extra = VideoScore(prompt="c", sample=0, reward=99.0)
    runs = records(evaluations=[look(0, 0.5), more.model_copy(update={"scores": [*more.scores, extra]})])
    assert course(runs)[1].gain.value == pytest.approx(0.1)


def with_extra(given: Evaluation, reward: float) -> Evaluation:
    """Return the look with a third prompt, which other looks lack."""
    extra = VideoScore(prompt="c", sample=0, reward=reward, others={"sharp": reward})
    return given.model_copy(update={"scores": [*given.scores, extra]})


def test_all_numbers_at_the_end_are_of_the_videos_that_every_look_judged() -> None:
    end = with_extra(look(16, 0.7), 99.0)
    runs = records(
        evaluations=[with_extra(look(0, 0.5), 1.0), look(8, 0.6), end],
        frontier=[FrontierPoint(scale=1.0, look=end)],
    )
    assert {name: gain.value for name, gain in transfer(runs).items()} == pytest.approx(
        {"red": 0.2, "sharp": 0.4}
    )
    assert course(runs)[-1].gain.value == pytest.approx(0.2)
    assert frontier(runs)[0].reward.value == pytest.approx(0.75)


def test_scales_that_were_judged_with_fewer_videos_use_those() -> None:
    """As records of 0.1.0 have them: two videos of a prompt at every look, and one of them at every scale."""
    second = VideoScore(prompt="a", sample=1, reward=9.0)
    looks = [
        given.model_copy(update={"scores": [*given.scores, second]})
        for given in (look(0, 0.5), look(16, 0.7))
    ]
    [row] = frontier(records(evaluations=looks, frontier=[FrontierPoint(scale=1.0, look=look(16, 0.7))]))
    assert row.reward.value == pytest.approx(0.75)


def test_one_number_a_look_is_compared_among_looks_at_the_same_videos_alone() -> None:
    measured = {"diversity": 0.2, "motion": 0.1, "path_kl": 3.0}
    start, middle, end = course(
        records(
            evaluations=[
                with_extra(look(0, 0.5, **measured), 1.0),
                look(8, 0.6, **measured),
                with_extra(look(16, 0.7, **measured), 1.0),
            ]
        )
    )
    seen = (start.diversity.value, end.diversity.value, start.motion.value)
    assert seen == pytest.approx((0.2, 0.2, 0.1))
    assert middle.diversity.absent == middle.motion.absent == "of other videos"
    assert middle.path_kl.value == 3.0


def test_one_run_has_no_interval_for_what_has_no_prompts() -> None:
    run = records(evaluations=[look(0, 0.5, motion=0.25), look(8, 0.6, motion=0.5)])[:1]
    assert course(run)[1].motion.value == 0.5
    assert math.isnan(course(run)[1].motion.low)


def test_a_frontier_is_in_the_order_of_its_scales() -> None:
    points = [
        FrontierPoint(scale=scale, look=look(16, 0.5 + scale, 0.9 - scale / 2)) for scale in (1.0, 0.0, 0.5)
    ]
    found = frontier(records(evaluations=[look(0, 0.5), look(16, 1.5)], frontier=points))
    assert [row.scale for row in found] == [0.0, 0.5, 1.0]
    assert [row.reward.value for row in found] == pytest.approx([0.55, 1.05, 1.55])
    assert [row.gold.value for row in found] == pytest.approx([0.9, 0.65, 0.4])
    assert [row.prompt_share.value for row in found] == pytest.approx([0.45, 0.325, 0.2])
    assert found[0].diversity.absent == "not measured"


def test_drift_is_against_the_first_chunk_of_the_same_videos() -> None:
    runs = records(
        extensions=lambda seed: [
            Extension(prompt="a", rewards=[1.0, 0.9, 0.7 + 0.01 * seed], golds=[0.5, 0.5, 0.6]),
            Extension(prompt="b", rewards=[2.0, 1.9, 1.7 + 0.01 * seed], golds=[0.5, 0.5, 0.8]),
        ]
    )
    assert drift(runs)[2].prompt_share_change.absent == "not measured"
    first, second, third = drift(runs)
    assert (first.chunk, second.chunk, third.chunk) == (1, 2, 3)
    assert first.reward.value == pytest.approx(1.5)
    assert first.change.value == 0
    assert second.change.value == pytest.approx(-0.1)
    assert third.change.value == pytest.approx(-0.29)
    assert third.change.below_zero
    assert third.gold_change.value == pytest.approx(0.2)


def test_drift_without_an_oracle() -> None:
    runs = records(extensions=[Extension(prompt="a", rewards=[1.0, 0.9])])
    assert drift(runs)[1].gold_change.absent == "not measured"
