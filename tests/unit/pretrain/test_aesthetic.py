"""The aesthetic reward learns ratings, and what is written is what was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPModel

from vader_bench.pocket.taste import rate
from vader_bench.pretrain import aesthetic
from vader_bench.pretrain.lesson import Lesson
from vader_bench.pretrain.pictures import normalise
from vader_bench.pretrain.pool import Pool
from vader_bench.rewards.clip import Aesthetic
from vader_bench.seeding import numpy_stream
from vader_bench.weights.resolve import PACKAGED


@pytest.fixture
def rater() -> aesthetic.Rater:
    return aesthetic.begin(CLIPModel.from_pretrained(PACKAGED / "clip", dtype=torch.float32))


def test_a_new_head_rates_about_the_middle(rater: aesthetic.Rater) -> None:
    pictures = numpy_stream(0).uniform(size=(4, 64, 64, 3)).astype(np.float32)
    with torch.no_grad():
        ratings = rater(normalise(pictures))
    assert ratings.shape == (4,)
    assert (ratings - 5).abs().max() < 15


def test_only_the_image_tower_and_the_head_are_trained(rater: aesthetic.Rater) -> None:
    trained = [name for name, weight in rater.named_parameters() if weight.requires_grad]
    assert {"weight", "bias"} <= set(trained)
    assert any("vision_model" in name for name in trained)
    assert not any("text_model" in name or "text_projection" in name for name in trained)


@pytest.mark.slow
def test_a_round_ends_in_what_the_reward_loads(tmp_path: Path, drawn_pool: Pool) -> None:
    lesson = Lesson("aesthetic-0", None, tmp_path / "a", PACKAGED / "clip", tmp_path, drawn_pool, 2)
    aesthetic.learn(lesson)
    reward = Aesthetic.load(str(tmp_path / "a"), str(tmp_path / "a/head.safetensors"))
    video = torch.rand(2, 3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    again = aesthetic.load(tmp_path / "a").eval()
    with torch.no_grad():
        frames = again(normalise(video.flatten(0, 1).permute(0, 2, 3, 1).numpy())).reshape(2, 3)
    torch.testing.assert_close(reward.score(video, ["", ""]), frames.mean(1), rtol=1e-3, atol=1e-3)
    aesthetic.learn(
        Lesson("aesthetic-1", tmp_path / "a", tmp_path / "b", PACKAGED / "clip", tmp_path, drawn_pool, 1)
    )
    assert not torch.equal(aesthetic.load(tmp_path / "b").weight, again.weight)


@pytest.mark.slow
def test_training_lowers_the_error_of_ratings(
    rater: aesthetic.Rater, tmp_path: Path, drawn_pool: Pool
) -> None:
    def error() -> float:
        rng = numpy_stream(9, "error")
        pictures = np.stack([aesthetic._draw(rng, drawn_pool) for _ in range(48)])
        with torch.no_grad():
            rated = rater(normalise(pictures)).numpy()
        return float(np.square(rated - rate(pictures)).mean())

    before = error()
    aesthetic.train(rater, drawn_pool, tmp_path, "aesthetic", steps=30)
    assert error() < 0.7 * before
