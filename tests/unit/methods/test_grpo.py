"""GRPO: what its advantages and its divergence are; that it is a policy gradient shows the contract test."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.benches import MakeBench
from vader_bench.methods.grpo import Grpo, GrpoConfig

SMALL = {
    "batch_size": 4,
    "lora_rank": 2,
    "learning_rate": 1e-3,
    "prompts_per_round": 2,
    "samples_per_prompt": 3,
}


@pytest.mark.parametrize("together", [False, True])
def test_advantages_compare_the_videos_of_a_prompt(make_bench: MakeBench, together: bool) -> None:
    """By numpy, group by group; the last group is cut."""
    method = Grpo(GrpoConfig(**SMALL, global_deviation=together), make_bench().bench)
    scores = np.array([1.0, 2.0, 6.0, -1.0, 0.5], np.float32)
    found = method.advantages(["a", "a", "a", "b", "b"], torch.from_numpy(scores))
    expected = np.concatenate(
        [(g - g.mean()) / ((scores if together else g).std() + 1e-4) for g in (scores[:3], scores[3:])]
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_equal_scores_and_a_video_alone_have_no_advantage(make_bench: MakeBench) -> None:
    method = Grpo(GrpoConfig(**SMALL), make_bench().bench)
    found = method.advantages(["a", "a", "a", "b"], torch.tensor([0.3, 0.3, 0.3, 9.0]))
    assert found.tolist() == [0.0, 0.0, 0.0, 0.0]


def test_the_divergence_is_that_of_two_gaussians(make_bench: MakeBench) -> None:
    """By torch's own, of the same means and deviations."""
    method = Grpo(GrpoConfig(**SMALL), make_bench(steps=3).bench)
    sampler, shape = method.sampler, (2, *method.bench.backbone.latent_shape)
    generator = torch.Generator().manual_seed(1)
    one, other, latents = (torch.randn(shape, generator=generator) for _ in range(3))
    now = sampler.schedule.timesteps(3)[[0, 2]]
    following = sampler.schedule.previous(now, 3)
    pair = [sampler.schedule.transition(p, latents, now, following, sampler.eta) for p in (one, other)]
    gaussians = [torch.distributions.Normal(mean, std.expand_as(mean)) for mean, std in pair]
    expected = torch.distributions.kl_divergence(*gaussians).flatten(1).mean(1)
    torch.testing.assert_close(sampler.step_kl(one, other, latents, now), expected, rtol=1e-4, atol=1e-6)


def test_the_divergence_is_logged_and_holds_the_policy_back(make_bench: MakeBench) -> None:
    settings = SMALL | {"learning_rate": 3e-3, "updates_per_round": 2, "clip_range": 1.0}
    moved = {}
    for weight in (1e-9, 100.0):
        method = Grpo(GrpoConfig(**settings, kl_weight=weight), make_bench(queries=24).bench)
        moved[weight] = [method.step(6)["kl"] for _ in range(4)][-1]
    assert 0 < moved[100.0] < moved[1e-9]


def test_without_a_weight_the_base_model_is_not_asked(make_bench: MakeBench) -> None:
    calls = []
    for weight in (0.0, 0.1):
        stand = make_bench()
        metrics = Grpo(GrpoConfig(**SMALL, kl_weight=weight), stand.bench).step(6)
        assert metrics["kl"] == 0, "the only update is of the base model"
        calls.append(stand.meter.ledger.denoiser_forwards)
    sampled, trained = 6 * 4, 6 * 3  # the last step is not trained on
    assert calls == [sampled + trained, sampled + 2 * trained]
