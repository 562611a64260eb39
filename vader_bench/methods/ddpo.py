"""DDPO: policy gradient on the steps of the sampler, with trl's loss and statistics."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from vader_bench.methods.base import Workbench
from vader_bench.methods.policy_gradient import PolicyGradient, PolicyGradientConfig

__all__ = ["Ddpo", "DdpoConfig"]

# --- config ---


class DdpoConfig(PolicyGradientConfig):
    """Hyper-parameters of DDPO; defaults of its authors' code where they apply."""

    learning_rate: float = Field(default=3e-4, gt=0)
    per_prompt_statistics: bool = True
    """Normalise rewards within a prompt instead of within a round."""
    statistics_buffer: int = Field(default=32, ge=1)
    """Latest rewards of a prompt that its mean and standard deviation are taken of."""
    statistics_min_count: int = Field(default=4, ge=1)
    """Rewards of a prompt below which those of the whole round are used."""


# --- setup ---


class Ddpo(PolicyGradient):
    """DDPO with importance sampling (Black et al. 2023, section 4.3), in the arithmetic of trl's trainer."""

    Config = DdpoConfig
    streams = ("ddpo",)
    config: DdpoConfig

    def __init__(self, config: DdpoConfig, bench: Workbench) -> None:
        """Set up; see ``PolicyGradient``."""
        super().__init__(config, bench)
        self._statistics = _trl_statistics()(config.statistics_buffer, config.statistics_min_count)

    # --- advantages ---

    def advantages(self, prompts: Sequence[str], scores: Tensor) -> Tensor:
        """Return the advantages [V] of ``scores`` [V], on the same device.

        They are normalised by what is known of their prompt, these scores included, or within the round.
        """
        rewards = scores.cpu().numpy()  # trl computes them there, in float32 as scores are
        if self.config.per_prompt_statistics:
            normalised = self._statistics.update(prompts, rewards)
        else:
            normalised = (rewards - rewards.mean()) / (rewards.std() + 1e-8)
        return torch.as_tensor(normalised).to(scores.device)

    # --- state ---

    def own_state(self) -> dict[str, Any]:
        """Return the statistics of each prompt, which trl itself would lose."""
        return {
            "statistics": {
                str(prompt): [float(reward) for reward in rewards]
                for prompt, rewards in self._statistics.stats.items()
            }
        }

    def load_own_state(self, state: dict[str, Any]) -> None:
        """Take the statistics back."""
        # float32 as scores are, or the means would be rounded otherwise than without the pause
        self._statistics.stats = {
            prompt: deque([np.float32(reward) for reward in rewards], maxlen=self.config.statistics_buffer)
            for prompt, rewards in state["statistics"].items()
        }


@cache
def _trl_statistics() -> Any:
    """Return trl's statistics of prompts; what it imports takes seconds."""
    from trl.trainer.utils import PerPromptStatTracker

    return PerPromptStatTracker
