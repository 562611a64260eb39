"""VADER: raise the reward by its gradient through the last steps of the sampler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from vader_bench.config.faults import Fault
from vader_bench.errors import UserError
from vader_bench.methods.base import METHODS, Method, MethodConfig, Workbench
from vader_bench.rewards.base import Judgement

__all__ = ["Vader", "VaderConfig"]

# --- config ---


class VaderConfig(MethodConfig):
    """Hyper-parameters of VADER; the default learning rate is that of its authors' code."""

    learning_rate: float = Field(default=2e-4, gt=0)
    accumulation: int = Field(default=1, ge=1)
    """Batches whose gradients make one update."""
    k: int | Literal["random"] = 1
    """Last sampler steps that carry gradient; ``random`` draws it from 1 to the number of steps at
    every update."""

    @property
    def round_queries(self) -> int:
        """Return the videos of an update."""
        return self.batch_size * self.accumulation


# --- setup ---


@METHODS.register("vader")
class Vader(Method):
    """VADER (Prabhudesai et al. 2024, algorithm 1): ascend ``E[R(x_0, c)]``, one update a batch.

    Metrics beside the common ones:

    ========== ===================================================================
    k          sampler steps that carried gradient
    objective  mean of what is maximised; the score itself unless that saturates
    ========== ===================================================================
    """

    Config = VaderConfig
    streams = ("vader",)
    config: VaderConfig

    def __init__(self, config: VaderConfig, bench: Workbench) -> None:
        """Set up.

        Raises:
            UserError: the reward has no gradient, or k exceeds the number of sampler steps.
        """
        gradient = bench.reward.differentiable
        for key, wrong, remedy in self.refusals(config, steps=bench.steps, gradient=gradient):
            given = f"vader.{key} = {config.k}" if key else f"reward {bench.reward.name!r}"
            raise UserError(given, wrong, remedy)
        super().__init__(config, bench)

    @classmethod
    def refusals(cls, config: VaderConfig, *, steps: int, gradient: bool) -> Iterator[Fault]:
        """Yield that the reward has no gradient, and that k exceeds the number of sampler steps."""
        if not gradient:
            yield Fault("", "has no gradient", "use ddpo or diffusion-dpo with it")
        if config.k != "random" and not 1 <= config.k <= steps:
            yield Fault("k", "is out of range", f"choose 1 to {steps}, or random")

    # --- loss ---

    def loss(self, judgement: Judgement) -> Tensor:
        """Return ``-mean R``, a number."""
        return -judgement.objective.mean()

    # --- step ---

    def step(self, allowance: int) -> dict[str, float]:
        """Sample up to ``batch_size * accumulation`` videos with gradient, judge them, update once."""
        videos = min(self.config.round_queries, allowance)
        k, frames = self._draw_k(), self.choose_frames()
        seen: list[Judgement] = []

        def losses() -> Iterator[Tensor]:
            for count in self.batches(videos):
                judgement = self._judged(count, k, frames)
                seen.append(Judgement(*(part.detach() for part in judgement)))
                yield self.loss(judgement) * (count / videos)

        norm = self.update(losses())
        score, objective = (torch.cat(parts).mean().item() for parts in zip(*seen, strict=True))
        return {
            "reward": score,
            "loss": -objective,
            "grad_norm": norm,
            "k": float(k),
            "objective": objective,
        }

    def _judged(self, videos: int, k: int, frames: Sequence[int]) -> Judgement:
        """Return the judgement of fresh videos, with a graph through the last ``k`` steps."""
        prompts, noise = self.next_prompts(videos), self.noise(videos)
        encoded = self.bench.backbone.encode(prompts)
        unconditional = self.bench.backbone.unconditional(encoded)
        latents = self.sampler.truncated(noise(), encoded, unconditional, noise, last=k)
        return self.judge(latents, prompts, frames)

    def _draw_k(self) -> int:
        if self.config.k != "random":
            return self.config.k
        return 1 + int(torch.randint(self.bench.steps, (), generator=self.generators["vader"]))

    # --- state ---

    def own_state(self) -> dict[str, Any]:
        """Return nothing: every step starts afresh."""
        return {}

    def load_own_state(self, state: dict[str, Any]) -> None:
        """Take nothing back."""
