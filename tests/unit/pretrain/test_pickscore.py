"""The judges of PickScore choose as their documentation says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer

from vader_bench.pocket.vocabulary import Caption, parse_caption
from vader_bench.pretrain import pickscore
from vader_bench.pretrain.export import export_clip
from vader_bench.pretrain.pickscore import NOISE, TIE, WORDS, appeal, draw_choices
from vader_bench.pretrain.pool import Pool
from vader_bench.rewards import make_reward
from vader_bench.rewards.preprocess import CLIP_MEAN, CLIP_STD, read_statistics
from vader_bench.seeding import numpy_stream
from vader_bench.weights.resolve import PACKAGED

ASKED = Caption("red", "cat", "spinning", "at night")


@pytest.fixture(scope="module")
def choices() -> pickscore.Choices:
    return draw_choices(numpy_stream(0, "choices"), 160)


@pytest.fixture
def clip() -> CLIPModel:
    return CLIPModel.from_pretrained(PACKAGED / "clip", dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(PACKAGED / "clip")


@pytest.mark.parametrize("word", WORDS)
def test_a_missed_word_costs_its_worth_and_no_more(word: str) -> None:
    other = Caption(**{**ASKED.__dict__, word: "none"})
    assert appeal(ASKED, ASKED, 5) - appeal(other, ASKED, 5) == WORDS[word]


def test_looks_count_less_than_any_word() -> None:
    assert appeal(ASKED, ASKED, 6) > appeal(ASKED, ASKED, 5)
    wrong = Caption("red", "cat", "spinning", "in the park")
    assert appeal(wrong, ASKED, 8) < appeal(ASKED, ASKED, 5)


def test_choices_are_shares_and_near_pairs_are_ties(choices: pickscore.Choices) -> None:
    assert choices.pairs.shape == (160, 2, 64, 64, 3)
    assert all(parse_caption(prompt) is not None for prompt in choices.prompts)
    torch.testing.assert_close(choices.chosen.sum(1), torch.ones(160))
    lead = (choices.appeals[:, 0] - choices.appeals[:, 1]).abs()
    assert torch.equal(choices.chosen[:, 0] == 0.5, lead < TIE)


def test_clear_pairs_are_chosen_as_they_appeal_and_close_ones_are_odd_at_times(
    choices: pickscore.Choices,
) -> None:
    lead = choices.appeals[:, 0] - choices.appeals[:, 1]
    agrees = (lead > 0) == (choices.chosen[:, 0] > 0.5)
    assert agrees[lead.abs() > 4 * NOISE].float().mean() > 0.95
    decided = lead.abs() >= TIE
    assert 0.75 < agrees[decided].float().mean() < 1


def test_inputs_have_the_statistics_that_the_reward_takes(choices: pickscore.Choices) -> None:
    inputs = pickscore._inputs(choices._replace(pairs=choices.pairs[:2]))
    assert inputs.shape == (4, 3, 64, 64)
    again = inputs * torch.tensor(CLIP_STD)[:, None, None] + torch.tensor(CLIP_MEAN)[:, None, None]
    np.testing.assert_allclose(again[3].permute(1, 2, 0), choices.pairs[1, 1], atol=1e-6)


def test_a_model_is_as_like_itself_as_can_be(clip: CLIPModel, tokenizer: CLIPTokenizer) -> None:
    told = pickscore.tell(clip, clip, tokenizer, count=160)
    assert told.judges > 0.75
    assert 0.9 < told.alike < 1  # the statistics of the pictures differ
    assert abs(told.model - told.others) < 0.2


@pytest.mark.slow
def test_training_moves_the_scale_and_the_reward_loads_it(
    clip: CLIPModel, tokenizer: CLIPTokenizer, drawn_pool: Pool, tmp_path: Path
) -> None:
    before = clip.logit_scale.item()
    pickscore.train(clip.train(), tokenizer, drawn_pool, tmp_path, "pickscore", steps=2)
    assert clip.logit_scale.item() != before
    export_clip(clip.eval(), tokenizer, tmp_path / "pickscore", CLIP_MEAN, CLIP_STD)
    assert read_statistics(tmp_path / "pickscore" / "preprocessor_config.json") == (CLIP_MEAN, CLIP_STD)
    reward = make_reward("pickscore", {"model": str(tmp_path / "pickscore")})
    assert reward.value_range[1] == pytest.approx(clip.logit_scale.exp().item(), rel=1e-2)
