"""What looks share: the same videos, the same means and the same refusals for all statistics."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

import numpy as np
import pytest

from tests.support.results import Invented, make_record
from vader_bench.errors import UserError
from vader_bench.records.record import Evaluation, Record, VideoScore
from vader_bench.stats import cloud, course, run_curve, trails, transfer
from vader_bench.stats.looks import (
    common_videos,
    looks_of,
    prompts_of,
    scores_by_prompt,
    shared_videos,
    video_scores,
)

RUN = make_record(Invented(rewards=("red",)), "vader", "red", 0)


def look(*scores: tuple[str, int, float], gold: float | None = None) -> Evaluation:
    found = [VideoScore(prompt=p, sample=n, reward=value, gold=gold) for p, n, value in scores]
    return Evaluation(split="heldout", queries=0, flops=0, device_seconds=0.0, scores=found)


FIRST = look(("b", 0, 1.0), ("b", 1, 2.0), ("a", 0, 5.0), ("c", 0, 9.0))
SECOND = look(("a", 0, 6.0), ("a", 1, 7.0), ("b", 1, 4.0), ("b", 0, 3.0))


def test_looks_are_in_order_of_queries() -> None:
    mixed = RUN.model_copy(update={"evaluations": RUN.evaluations[::-1]})
    assert [found.queries for found in looks_of(mixed)] == [0, 16, 32, 48, 64]
    assert [found.queries for found in looks_of(mixed, "train")] == [0, 64]


def test_means_are_over_the_videos_that_all_looks_have() -> None:
    videos = shared_videos([FIRST, SECOND])
    assert videos == [("b", 0), ("b", 1), ("a", 0)]
    prompts, means = scores_by_prompt([FIRST, SECOND], attrgetter("reward"), videos)
    assert prompts == prompts_of(videos) == ("b", "a")
    assert means is not None
    np.testing.assert_array_equal(means, [[1.5, 5.0], [3.5, 6.0]])
    assert video_scores(SECOND, attrgetter("reward"), videos) == {"b": [3.0, 4.0], "a": [6.0]}


def test_a_score_that_is_missing_leaves_no_means() -> None:
    whole = look(("a", 0, 1.0), gold=0.5)
    assert scores_by_prompt([whole, look(("a", 0, 1.0))], attrgetter("gold"), [("a", 0)]) == (("a",), None)


def test_looks_that_share_no_video_are_refused() -> None:
    apart = [look(("a", 0, 1.0)), look(("a", 1, 1.0))]
    assert common_videos(apart) == []
    with pytest.raises(UserError, match="split 'heldout': has no video that was judged at every look"):
        shared_videos(apart)


@pytest.mark.parametrize(
    "read",
    [
        run_curve,
        lambda run: transfer([run]),
        lambda run: course([run]),
        lambda run: cloud({"vader": [run]}),
        lambda run: trails({"vader": [run]}, "queries"),
    ],
)
def test_two_looks_after_the_same_queries_are_refused_by_all(read: Callable[[Record], object]) -> None:
    doubled = RUN.model_copy(update={"evaluations": [*RUN.evaluations, looks_of(RUN)[1]]})
    with pytest.raises(UserError, match="has two evaluations of split 'heldout' after the same queries"):
        read(doubled)
