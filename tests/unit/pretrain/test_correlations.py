"""Correlations with truths that are known: of rewards that are right, wrong and always the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vader_bench.pocket.vocabulary import parse_caption
from vader_bench.pretrain import correlations
from vader_bench.pretrain.correlations import KEYS, WHERE, correlation, section
from vader_bench.pretrain.learners import LEARNERS, load_truth
from vader_bench.rewards.base import Judgement, Reward


class Noun(Reward):
    """Says how long the prompt is, whatever the video."""

    name = "noun"

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        score = torch.tensor([float(len(prompt)) for prompt in prompts])
        return Judgement(score, score)


def test_correlation_is_pearson_s() -> None:
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert correlation([1, 2, 3], [6, 4, 2]) == pytest.approx(-1)
    assert correlation([1, 2, 3, 4], [1, 2, 2, 1]) == pytest.approx(0)


def test_what_does_not_vary_has_none() -> None:
    assert correlation([1, 1, 1], [1, 2, 3]) is None
    assert correlation([1, 2, 3], [0, 0, 0]) is None


@pytest.mark.parametrize("name", LEARNERS)
def test_truths_of_clean_clips_vary(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlations, "HELDOUT_CLIPS", 24)
    clips = correlations._clean(name, tmp_path)
    assert clips.videos.shape == (24, 8, 64, 64, 3)
    assert all(parse_caption(prompt) is not None for prompt in clips.prompts)
    assert np.ptp(clips.truths) > 0
    low, high = load_truth(name).value_range
    assert low <= min(clips.truths) <= max(clips.truths) <= high


@pytest.mark.parametrize("name", ["hps", "pickscore", "action"])
def test_what_is_known_of_plain_drawings_is_what_is_measured(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correlations, "HELDOUT_CLIPS", 16)
    monkeypatch.setattr(correlations, "apply_style", lambda video, _style, _rng: video)
    clips = correlations._clean(name, tmp_path)
    found = correlations._scores(load_truth(name), clips)
    agreeing = sum(abs(one - other) < 1e-3 for one, other in zip(found, clips.truths, strict=True))
    assert agreeing >= 13  # the oracle errs at times


def test_scores_go_with_their_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlations, "HELDOUT_CLIPS", 5)
    monkeypatch.setattr(correlations, "_BATCH", 2)
    clips = correlations._clean("hps", tmp_path)
    assert correlations._scores(Noun(), clips) == [len(prompt) for prompt in clips.prompts]


def test_the_section_says_all_figures_beside_the_aims() -> None:
    measured: dict[str, object] = {key: 0.001 * i for i, key in enumerate(KEYS, start=100)}
    measured["hps_correlation_clean"] = None
    text = section(measured)
    assert len(KEYS) == len(LEARNERS) * len(WHERE)
    for name, learner in LEARNERS.items():
        assert f"| `{name}` | `{learner.truth}` |" in text
    assert "undefined" in text
    assert "| aim | | 0.95 | 0.90 | 0.60 |" in text
    assert "{" not in text
