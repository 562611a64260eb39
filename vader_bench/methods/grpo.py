"""GRPO: policy gradient whose advantages compare the samples of one prompt with each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from vader_bench.methods.groups import group_advantages
from vader_bench.methods.policy_gradient import (
    ClippedLoss,
    PolicyGradient,
    PolicyGradientConfig,
    RoundSamples,
    StepBatch,
)

__all__ = ["Grpo", "GrpoConfig"]

# --- config ---


class GrpoConfig(PolicyGradientConfig):
    """Hyper-parameters of GRPO; the defaults that Flow-GRPO and DanceGRPO share, or DanceGRPO's."""

    learning_rate: float = Field(default=1e-5, gt=0)
    samples_per_prompt: int = Field(default=8, ge=2)
    """Size of a group: videos of one prompt, which are compared."""
    prompts_per_round: int = Field(default=2, ge=1)
    """Groups between two rounds of updates."""
    updates_per_round: int = Field(default=1, ge=1)
    """Optimiser steps per pass over the samples of a round, each on as many of its videos."""
    skip_last_steps: int = Field(default=1, ge=0)
    """Last steps of the sampler that are never trained on. Both leave out the last one: hardly any noise is
    left there, and the gradient of its log-probability is the longest by far."""
    global_deviation: bool = False
    """Divide by the standard deviation of all rewards of the round, not by that of the group."""
    kl_weight: float = Field(default=0.0, ge=0)
    """Weight of the divergence from the base model; each call of the denoiser is then made twice."""


# --- setup ---


class Grpo(PolicyGradient):
    """Group-relative policy optimisation on the stochastic steps that the backbone's schedule has.

    These are DDIM with eta, or the flow SDE (Flow-GRPO: Liu et al. 2025, arXiv:2505.05470; DanceGRPO: Xue et
    al. 2025, arXiv:2505.07818).

    Metrics beside those of ``PolicyGradient``:

    ========== ===================================================================
    kl         divergence of a step from the base model's, in nats an element; 0 without ``kl_weight``
    ========== ===================================================================
    """

    Config = GrpoConfig
    streams = ("grpo",)
    config: GrpoConfig

    # --- advantages ---

    def advantages(self, prompts: Sequence[str], scores: Tensor) -> Tensor:
        """Return how far each score is above its group's mean, in standard deviations."""
        del prompts  # those of a group stand together
        return group_advantages(scores, self.config.samples_per_prompt, self.config.global_deviation)

    # --- loss ---

    def _penalty(self, prediction: Tensor, call: StepBatch, samples: RoundSamples) -> Tensor:
        """Return the weighted KL divergence of the steps from the base model's, in closed form.

        See ``Sampler.step_kl``.
        """
        if self.config.kl_weight == 0:
            return super()._penalty(prediction, call, samples)
        with torch.no_grad(), self.lora.disabled():
            base = self._prediction(call, samples)
        divergence = self.sampler.step_kl(prediction, base, *self._before(call, samples))
        return self.config.kl_weight * divergence.mean()

    # --- step ---

    def _metrics(
        self, samples: RoundSamples, advantages: Tensor, norms: list[float], seen: list[ClippedLoss]
    ) -> dict[str, float]:
        penalty = sum(found.penalty.item() for found in seen) / len(seen)
        divergence = penalty / self.config.kl_weight if self.config.kl_weight else 0.0
        return super()._metrics(samples, advantages, norms, seen) | {"kl": divergence}
