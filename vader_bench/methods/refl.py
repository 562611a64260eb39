"""ReFL: raise the reward of the clean video that the model predicts at one late step of the sampler."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from vader_bench.diffusion.sampler import Noise
from vader_bench.methods.reward_gradient import RewardGradient, RewardGradientConfig

__all__ = ["Refl", "ReflConfig"]

# --- config ---


class ReflConfig(RewardGradientConfig):
    """Hyper-parameters of ReFL; the defaults are those of its authors' code."""

    learning_rate: float = Field(default=1e-5, gt=0)
    window: float = Field(default=0.25, gt=0, le=1)
    """Share of the sampler's steps, the last ones, among which that with gradient is drawn; in the authors'
    code the last 10 of 40."""


# --- setup ---


class Refl(RewardGradient):
    """ReFL (ImageReward, Xu et al. 2023, algorithm 1): ascend ``E[R(x_0 seen at t, c)]`` at a random late t.

    VADER follows the gradient of what was sampled, through the last steps; here sampling stops at step t, and
    the reward judges the clean latents that one call of the network sees there.

    Metrics beside those of ``RewardGradient``:

    ========== ===================================================================
    step       number, from 1, of the sampler step that carried gradient
    ========== ===================================================================
    """

    Config = ReflConfig
    streams = ("refl",)
    drawn = "step"
    config: ReflConfig

    # --- step ---

    def _draw(self) -> int:
        """Return one of the last steps, counted from 1."""
        late = max(1, math.floor(self.config.window * self.bench.steps))
        return self.bench.steps - int(torch.randint(late, (), generator=self.generators["refl"]))

    def _latents(self, encoded: Tensor, unconditional: Tensor, noise: Noise, drawn: int) -> Tensor:
        """Return what the model sees before the step ``drawn``, with a graph through that one call."""
        return self.sampler.foreseen(noise(), encoded, unconditional, noise, step=drawn - 1)
