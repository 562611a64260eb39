"""What is seen in evaluation videos."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from vader_bench.backbones import Backbone
from vader_bench.config.schema import SamplerConfig
from vader_bench.errors import UserError
from vader_bench.evaluation.evaluator import Evaluator
from vader_bench.rewards.base import Judgement, Reward
from vader_bench.rewards.closed_form import Brightness, Redness

SAMPLER = SamplerConfig(steps=2, eta=1.0, guidance=1.0)


@pytest.fixture
def evaluator(tiny_backbone: Backbone) -> Evaluator:
    return Evaluator(tiny_backbone, SAMPLER, Redness(), None, "cpu", batch=2)


def test_every_prompt_gets_its_samples_in_order(evaluator: Evaluator) -> None:
    found = evaluator.look(["a red cat", "a blue cat"], 2)
    assert [(s.prompt, s.sample) for s in found.scores] == [
        ("a red cat", 0),
        ("a red cat", 1),
        ("a blue cat", 0),
        ("a blue cat", 1),
    ]
    assert all(score.gold is None and score.prompt_share is None for score in found.scores)
    assert found.diversity is not None
    assert 0 < found.diversity < 1


def test_scores_are_those_of_the_videos(tiny_backbone: Backbone) -> None:
    reward = Redness()
    evaluator = Evaluator(tiny_backbone, SAMPLER, reward, reward, "cpu", prompt_share=Brightness())
    scores = evaluator.look(["a red cat"], 2).scores
    videos = evaluator.videos([("a red cat", 0), ("a red cat", 1)])
    expected = (videos[:, :, 0] - videos[:, :, 1:].mean(2)).mean((1, 2, 3)).tolist()
    assert [score.reward for score in scores] == pytest.approx(expected, rel=1e-4)
    assert [score.gold for score in scores] == [score.reward for score in scores]
    luma = (videos * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(2).mean((1, 2, 3))
    assert [score.prompt_share for score in scores] == pytest.approx(luma.tolist(), rel=1e-4)


def test_videos_are_counted_as_they_come(tiny_backbone: Backbone) -> None:
    counts: list[int] = []
    Evaluator(tiny_backbone, SAMPLER, Redness(), None, "cpu", counts.append, batch=2).look(["a", "b", "c"], 1)
    assert counts == [2, 1]


def test_a_score_that_is_not_a_number_is_refused(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator.reward, "score", lambda video, _: torch.full((len(video),), float("nan")))
    with pytest.raises(UserError, match="returned a value that is not finite for 1 of 1 videos"):
        evaluator.look(["a red cat"], 1)


def test_the_same_videos_come_first_in_a_larger_look(tiny_backbone: Backbone) -> None:
    evaluator = Evaluator(tiny_backbone, SAMPLER, Redness(), None, "cpu", batch=2)
    small = evaluator.look(["a red cat", "a blue cat"], 1).scores
    large = evaluator.look(["a red cat", "a blue cat", "a green cat"], 2).scores
    assert [score for score in large if score.sample == 0][:2] == small


class OfThree(Reward):
    """A reward of fixed length that is worth the frames it is given, written as a number."""

    name = "of-three"
    frames = 3
    units = "frames"
    value_range = (0.0, 999.0)
    source = "closed form"

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, 3, 3, H, W]."""
        assert video.shape[:2] == (len(prompts), 3)
        score = (video.mean((2, 3, 4)) * torch.tensor([100.0, 10.0, 1.0])).sum(1)
        return Judgement(score, score)


def test_a_reward_of_fixed_length_sees_evenly_spaced_frames_of_a_longer_video(
    tiny_backbone: Backbone,
) -> None:
    """As in training: of nine frames those in the middle of each third, whoever judges."""
    numbered = torch.arange(9.0).reshape(1, 9, 1, 1, 1).expand(1, 9, 3, 2, 2)
    evaluator = Evaluator(
        tiny_backbone,
        SAMPLER,
        OfThree(),
        OfThree(),
        "cpu",
        judges={"same": OfThree()},
        prompt_share=OfThree(),
    )
    (score,) = evaluator.judge(numbered, [("a prompt", 0)])
    assert (score.reward, score.gold, score.prompt_share, score.others) == (147, 147, 147, {"same": 147})
    with pytest.raises(UserError, match="3 frames to judge: a video has 2; choose at most 2"):
        evaluator.judge(numbered[:, :2], [("a prompt", 0)])
