"""How far training has moved the sampler: the divergence of its paths from those of the base model."""

from __future__ import annotations

import torch
from torch import Tensor

from vader_bench.diffusion.lora import Lora
from vader_bench.diffusion.sampler import Noise, Sampler

__all__ = ["path_kl"]


@torch.no_grad()
def path_kl(
    sampler: Sampler, lora: Lora, start: Tensor, encoded: Tensor, unconditional: Tensor, noise: Noise
) -> Tensor:
    """Return the KL divergence of sampling paths from the base model's, [B], in nats a video.

    A path is a chain of Gaussian steps whose standard deviations are the schedule's, the same for both
    models, so that KL(trained || base) is the sum over the steps of ``|m - m_base|^2 / (2 s^2)``, in
    expectation over paths of the trained model (Fan et al. 2023, arXiv:2305.16381). A video gives one path.

    Args:
        sampler: with noise; its denoiser holds ``lora``.
        lora: the adapters, switched off for the base model's means.
        start: starting noise [B, C, F, h, w].
        encoded: the condition [B, L, D].
        unconditional: what guidance contrasts it with [1 or B, L, D].
        noise: called once a step.

    Raises:
        UserError: the sampler has no noise, so that a path has no density.
    """
    sampler.require_density()
    total = torch.zeros(len(start), device=start.device)
    latents = sampler.schedule.start_scale * start
    for now, following in sampler.ladder(start):
        with lora.merged():
            mean, std = sampler.step(latents, encoded, unconditional, now, following)
        with lora.disabled():
            base, _ = sampler.step(latents, encoded, unconditional, now, following)
        total += ((mean - base).square() / (2 * std.square())).flatten(1).sum(dim=1)
        latents = mean + std * noise()
    return total
