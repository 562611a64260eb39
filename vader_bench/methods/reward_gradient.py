"""Gradients of the reward itself: what VADER and ReFL share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from vader_bench.diffusion.sampler import Noise
from vader_bench.methods.base import Method, MethodConfig
from vader_bench.rewards.base import Judgement

__all__ = ["RewardGradient", "RewardGradientConfig"]

# --- config ---


class RewardGradientConfig(MethodConfig):
    """Hyper-parameters of an update."""

    accumulation: int = Field(default=1, ge=1)
    """Batches whose gradients make one update."""

    @property
    def round_queries(self) -> int:
        """Return the videos of an update."""
        return self.batch_size * self.accumulation


# --- setup ---


class RewardGradient(Method):
    """Ascend the reward of fresh videos by its gradient through some calls of the denoiser.

    Metrics beside the common ones:

    ========== =========================================================================
    objective  mean of what is maximised; the score itself unless a reward has another
    ========== =========================================================================
    """

    uses_gradient = True
    drawn: ClassVar[str]
    """What the number that ``_draw`` returns is logged as."""
    config: RewardGradientConfig

    # --- loss ---

    def loss(self, judgement: Judgement) -> Tensor:
        """Return ``-mean R``, a number."""
        return -judgement.objective.mean()

    # --- step ---

    def step(self, allowance: int) -> dict[str, float]:
        """Sample up to ``batch_size * accumulation`` videos with gradient, judge them, update once."""
        videos = min(self.config.round_queries, allowance)
        drawn, frames = self._draw(), self.choose_frames()
        seen: list[Judgement] = []

        def losses() -> Iterator[Tensor]:
            for count in self.batches(videos):
                judgement = self._judged(count, drawn, frames)
                seen.append(Judgement(*(part.detach() for part in judgement)))
                yield self.loss(judgement) * (count / videos)

        norm = self.update(losses())
        score, objective = (torch.cat(parts).mean().item() for parts in zip(*seen, strict=True))
        return {
            "reward": score,
            "loss": -objective,
            "grad_norm": norm,
            self.drawn: float(drawn),
            "objective": objective,
        }

    def _judged(self, videos: int, drawn: int, frames: Sequence[int]) -> Judgement:
        """Return the judgement of fresh videos, with a graph as far as ``drawn`` says."""
        prompts, noise = self.next_prompts(videos), self.noise(videos)
        encoded = self.bench.backbone.encode(prompts)
        unconditional = self.bench.backbone.unconditional(encoded)
        return self.judge(self._latents(encoded, unconditional, noise, drawn), prompts, frames)

    @abstractmethod
    def _draw(self) -> int:
        """Return which steps of the sampler carry gradient in an update, as the method counts them."""

    @abstractmethod
    def _latents(self, encoded: Tensor, unconditional: Tensor, noise: Noise, drawn: int) -> Tensor:
        """Return clean latents [B, C, F, h, w] with a graph.

        Args:
            encoded: the condition [B, L, D].
            unconditional: see ``Sampler``.
            noise: gives the start, then noise for each step.
            drawn: by ``_draw``.
        """
