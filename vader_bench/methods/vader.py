"""VADER: raise the reward by its gradient through the last steps of the sampler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from vader_bench.config.faults import Fault
from vader_bench.diffusion.sampler import Noise
from vader_bench.methods.reward_gradient import RewardGradient, RewardGradientConfig

__all__ = ["Vader", "VaderConfig"]

# --- config ---


class VaderConfig(RewardGradientConfig):
    """Hyper-parameters of VADER; the default learning rate is that of its authors' code."""

    learning_rate: float = Field(default=2e-4, gt=0)
    k: int | Literal["random"] = 1
    """Last sampler steps that carry gradient; ``random`` draws it from 1 to the number of steps at
    every update."""

    what_ifs = ("k",)


# --- setup ---


class Vader(RewardGradient):
    """VADER (Prabhudesai et al. 2024, algorithm 1): ascend ``E[R(x_0, c)]``, one update a batch.

    Metrics beside those of ``RewardGradient``:

    ========== ===================================================================
    k          sampler steps that carried gradient
    ========== ===================================================================
    """

    Config = VaderConfig
    streams = ("vader",)
    drawn = "k"
    config: VaderConfig

    @classmethod
    def refusals(cls, config: VaderConfig, *, steps: int, gradient: bool) -> Iterator[Fault]:
        """Yield that the reward has no gradient, and that k exceeds the number of sampler steps."""
        yield from super().refusals(config, steps=steps, gradient=gradient)
        if config.k != "random" and not 1 <= config.k <= steps:
            yield Fault("k", "is out of range", f"choose 1 to {steps}, or random")

    # --- step ---

    def _draw(self) -> int:
        """Return how many of the last steps carry gradient."""
        if self.config.k != "random":
            return self.config.k
        return 1 + int(torch.randint(self.bench.steps, (), generator=self.generators["vader"]))

    def _latents(self, encoded: Tensor, unconditional: Tensor, noise: Noise, drawn: int) -> Tensor:
        """Return what is sampled, with a graph through the last ``drawn`` steps."""
        return self.sampler.truncated(noise(), encoded, unconditional, noise, last=drawn)
