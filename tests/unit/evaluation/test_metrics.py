"""Diversity and motion of videos."""

from __future__ import annotations

import pytest
import torch

from vader_bench.evaluation.metrics import diversity, features, motion


def test_features_are_mean_colours_on_a_grid() -> None:
    video = torch.zeros(2, 3, 3, 16, 24)
    video[0, 1, 2, :2, :3] = 1.0  # the first cell of the blue plane of the second frame
    found = features(video)
    assert found.shape == (2, 3 * 3 * 64)
    assert found[0].sum() == 1
    assert found[0, (1 * 3 + 2) * 64] == 1
    assert found[1].sum() == 0


def test_black_and_white_are_at_distance_one() -> None:
    vectors = torch.stack([torch.zeros(10), torch.ones(10)])
    assert diversity(vectors, ["p", "p"]) == 1.0


def test_equal_videos_have_no_diversity() -> None:
    vectors = torch.full((3, 10), 0.1)
    assert diversity(vectors, ["p"] * 3) == 0.0


def test_prompts_count_alike_however_many_videos_they_have() -> None:
    vectors = torch.tensor([[0.0], [1.0], [0.0], [0.0], [0.0], [9.0]])
    assert diversity(vectors, ["p", "p", "q", "q", "q", "alone"]) == pytest.approx(0.5)


def test_distance_is_the_mean_over_pairs() -> None:
    vectors = torch.tensor([[0.0, 0.0], [1.0, 1.0], [3.0, 3.0]])
    assert diversity(vectors, ["p"] * 3) == pytest.approx((1 + 3 + 2) / 3)


def test_one_video_a_prompt_has_no_diversity_to_measure() -> None:
    assert diversity(torch.zeros(2, 4), ["p", "q"]) is None


def test_motion_is_the_change_from_frame_to_frame() -> None:
    video = torch.zeros(3, 3, 3, 4, 4)
    video[1] = 0.7  # still, though not black
    video[2, 1] = 1.0  # black, white, black
    assert motion(video).tolist() == [0.0, 0.0, 1.0]


def test_a_single_frame_does_not_move() -> None:
    assert motion(torch.rand(2, 1, 3, 4, 4)).tolist() == [0.0, 0.0]
