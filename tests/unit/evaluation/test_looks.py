"""Which videos are looked at, and when."""

from __future__ import annotations

import pytest

from tests.support.configs import run_config
from vader_bench.evaluation.looks import Look, curve_mean, looks, looks_of_curve, video_count
from vader_bench.records.record import Evaluation, VideoScore


def test_a_trained_run_has_large_looks_at_the_ends_and_small_ones_between() -> None:
    assert looks(run_config(reward_queries=12)) == [
        Look(0, "train", 3, 1),
        Look(0, "heldout", 3, 2),
        Look(4, "heldout", 2, 1),
        Look(8, "heldout", 2, 1),
        Look(12, "train", 3, 1),
        Look(12, "heldout", 3, 2),
    ]


def test_the_base_model_is_looked_at_once_with_the_videos_that_best_of_n_takes() -> None:
    assert looks(run_config(method="base", settings={}, reward_queries=0)) == [
        Look(0, "train", 3, 1),
        Look(0, "heldout", 3, 2),
    ]


def test_looks_do_not_depend_on_method_reward_or_seed() -> None:
    assert looks(run_config()) == looks(run_config(method="ddpo", seed=7, settings={}))


@pytest.mark.parametrize(("available", "videos"), [(10, 6), (2, 4)])
def test_a_short_split_has_fewer_videos(available: int, videos: int) -> None:
    assert video_count(Look(0, "heldout", 3, 2), available) == videos


def test_the_curve_takes_the_videos_that_every_look_has() -> None:
    planned = looks(run_config())
    scores = [
        VideoScore(prompt=prompt, sample=sample, reward=reward)
        for prompt, sample, reward in [
            ("a", 0, 1.0), ("a", 1, 50.0), ("b", 0, 3.0), ("b", 1, 50.0), ("c", 0, 50.0), ("c", 1, 50.0),
        ]
    ]  # fmt: skip
    end = Evaluation(split="heldout", queries=8, flops=0, device_seconds=0, scores=scores)
    assert curve_mean(end, planned) == 2.0


def test_the_base_model_counts_the_videos_that_methods_are_looked_at_with() -> None:
    # it has eight samples for best-of-N; methods have one of each of the first two prompts on their way
    run = run_config()
    base = run.model_copy(update={"method": "base", "reward_queries": 0})
    scores = [
        VideoScore(prompt=prompt, sample=sample, reward=10.0 * sample + len(prompt))
        for prompt in ("a", "bb", "ccc")
        for sample in range(8)
    ]
    look = Evaluation(split="heldout", queries=0, flops=0, device_seconds=0, scores=scores)
    assert run.evaluation.prompts == 2
    assert curve_mean(look, looks_of_curve(base)) == 1.5
    assert looks_of_curve(run) == looks(run)


def test_without_looks_between_the_curve_takes_all_videos() -> None:
    planned = looks(run_config(reward_queries=4))
    scores = [VideoScore(prompt=p, sample=s, reward=float(s)) for p in "abc" for s in (0, 1)]
    end = Evaluation(split="heldout", queries=4, flops=0, device_seconds=0, scores=scores)
    assert curve_mean(end, planned) == 0.5


def test_looks_between_may_have_several_videos_of_a_held_out_prompt() -> None:
    run = run_config()
    evaluation = run.evaluation.model_dump() | {
        "splits": ["train", "heldout"],
        "measure": {"samples_along": 2},
    }
    between = looks(run_config(evaluation=evaluation))[2:4]
    assert between == [Look(4, "train", 2, 1), Look(4, "heldout", 2, 2)]
