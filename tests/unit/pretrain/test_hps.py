"""HPS learns the shares of an audience: better pictures of a prompt score higher."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer

from vader_bench.pretrain import hps
from vader_bench.pretrain.lesson import Lesson
from vader_bench.pretrain.options import draw_options
from vader_bench.pretrain.pool import Pool
from vader_bench.rewards import make_reward
from vader_bench.seeding import numpy_stream
from vader_bench.weights.resolve import PACKAGED


def test_utility_is_rating_and_two_points_a_word() -> None:
    options = draw_options(numpy_stream(0, "utilities"), 6, 2)
    found = hps.utilities(options)
    for i, asked in enumerate(options.asked):
        for j, shown in enumerate(options.shown[i]):
            met = sum(getattr(asked, word) == getattr(shown, word) for word in ("colour", "noun", "scene"))
            assert found[i, j] == pytest.approx(options.ratings[i, j] + 2 * met)


def test_the_loss_is_least_where_logits_are_the_utilities() -> None:
    liked = torch.tensor([[9.0, 7.0, 4.0], [3.0, 8.0, 5.0]])
    best = hps.preference_loss(liked, liked)
    share = 1 / (1 + math.exp(-2))
    two = hps.preference_loss(torch.zeros(1, 2), torch.tensor([[2.0, 0.0]]))
    assert two.item() == pytest.approx(math.log(2))
    told = hps.preference_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
    assert told.item() == pytest.approx(
        -share * math.log(share) - (1 - share) * math.log(1 - share), rel=1e-5
    )
    assert hps.preference_loss(-liked, liked) > hps.preference_loss(torch.zeros(2, 3), liked) > best
    shifted = liked + torch.tensor([[3.0], [0.0]])  # right within each prompt, wrong between the two
    assert hps.preference_loss(shifted, liked) > best


def test_decided_pairs_are_reported_by_chance_at_least() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(PACKAGED / "hps")
    model = CLIPModel.from_pretrained(PACKAGED / "hps", dtype=torch.float32).eval()
    assert hps.pair_accuracy(model, tokenizer, count=48) > 0.6


@pytest.mark.slow
def test_a_round_ends_in_what_the_reward_loads(tmp_path: Path, drawn_pool: Pool) -> None:
    hps.learn(Lesson("hps-0", None, tmp_path / "hps", PACKAGED / "clip", tmp_path, drawn_pool, 2))
    reward = make_reward("hps", {"model": str(tmp_path / "hps")})
    video = torch.rand(1, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert reward.score(video, ["a red cat spinning in the park"]).abs() <= 1
    before = CLIPModel.from_pretrained(PACKAGED / "clip", dtype=torch.float32).visual_projection.weight
    after = CLIPModel.from_pretrained(tmp_path / "hps", dtype=torch.float32).visual_projection.weight
    assert not torch.equal(before, after)
