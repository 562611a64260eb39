"""RAFT: the best of each prompt, and training on it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tests.support.benches import MakeBench, RedReward
from vader_bench.methods.raft import Raft, RaftConfig, best_of_each
from vader_bench.rewards.base import Judgement

SMALL = {
    "batch_size": 3,
    "lora_rank": 2,
    "learning_rate": 1e-3,
    "prompts_per_round": 2,
    "samples_per_prompt": 4,
}


@pytest.mark.parametrize(
    ("scores", "each", "best"),
    [([1, 3, 2, 0, 9, 8], 3, [1, 4]), ([1, 2, 3, 4, 5], 2, [1, 3, 4]), ([5, 5], 2, [0]), ([7], 4, [0])],
)
def test_the_best_of_each_prompt(scores: list[int], each: int, best: list[int]) -> None:
    assert best_of_each(torch.tensor(scores).float(), each) == best


class Remembering(RedReward):
    """A reward that keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[str] = []
        self.scores: list[float] = []

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        judgement = super().judge(video, prompts)
        self.prompts += prompts
        self.scores += judgement.score.tolist()
        return judgement


def test_the_winners_are_what_is_trained_on(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    reward = Remembering()
    method = Raft(RaftConfig(**(SMALL | {"updates_per_round": 2})), make_bench(reward).bench)
    trained: list[tuple[list[str], Tensor]] = []
    errors = method.errors

    def watched(prompts: list[str], clean: Tensor) -> Tensor:
        trained.append((prompts, clean))
        return errors(prompts, clean)

    monkeypatch.setattr(method, "errors", watched)
    metrics = method.step(8)
    first, second = max(reward.scores[:4]), max(reward.scores[4:])
    assert metrics["best"] == pytest.approx((first + second) / 2)
    assert metrics["reward"] == pytest.approx(sum(reward.scores) / 8)
    assert [prompts for prompts, _ in trained] == [[reward.prompts[0], reward.prompts[4]]] * 2
    again = method.judge(trained[0][1], trained[0][0], method.choose_frames())
    assert again.score.tolist() == pytest.approx([first, second])


def test_the_loss_is_the_error_of_what_the_model_is_to_predict(make_bench: MakeBench) -> None:
    """Of a model that predicts ``v``, on empty latents: mean squared error to ``sqrt(a) e``."""
    method = Raft(RaftConfig(**SMALL), make_bench().bench)
    clean = torch.zeros(2, *method.bench.backbone.latent_shape)
    seen: list[Tensor] = []
    denoise = method.bench.backbone.denoise

    def watched(latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        prediction = denoise(latents, timesteps, encoded)
        alpha = method.bench.backbone.schedule.alpha(timesteps, latents)  # type: ignore[attr-defined]
        velocity = alpha.sqrt() * latents / (1 - alpha).sqrt()
        seen.append((prediction - velocity).square().flatten(1).mean(1))
        return prediction

    method.bench.backbone.denoise = watched  # type: ignore[method-assign]
    with torch.no_grad():
        found = method.errors(["a red cat", "a blue cat"], clean)
    torch.testing.assert_close(found, seen[0], rtol=1e-4, atol=1e-5)
