"""RAFT: train on the best of several samples of a prompt as on any video, the simplest baseline."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor

from vader_bench.methods.base import Method
from vader_bench.methods.denoising import denoising_error
from vader_bench.methods.groups import GroupConfig, sample_groups

__all__ = ["Raft", "RaftConfig", "best_of_each"]

# --- config ---


class RaftConfig(GroupConfig):
    """Hyper-parameters of RAFT; the learning rate is Diffusion-DPO's, which trains on the same error."""

    learning_rate: float = Field(default=1e-5, gt=0)
    samples_per_prompt: int = Field(default=4, ge=2)
    """Videos per prompt, N, of which the best is trained on."""
    updates_per_round: int = Field(default=1, ge=1)
    """Updates on the winners of a round, each with fresh noise and timesteps."""

    @property
    def most_devices(self) -> int:
        """Return how many devices can share the batches of sampling and those of winners."""
        return min(super().most_devices, self.prompts_per_round)


# --- setup ---


class Raft(Method):
    """RAFT (Dong et al. 2023, algorithm 1): supervised training on the best of N samples of each prompt.

    The loss is the one that the model was trained with; nothing is known of the losers but that they lost.

    Metrics beside the common ones:

    ========== ===================================================================
    best       mean score of the winners
    ========== ===================================================================
    """

    Config = RaftConfig
    baseline = True
    streams = ("raft",)
    config: RaftConfig

    # --- loss ---

    def errors(self, prompts: list[str], clean: Tensor) -> Tensor:
        """Return the denoising errors [B] of ``clean`` latents [B, C, F, h, w] at drawn timesteps."""
        schedule, generator = self.bench.backbone.schedule, self.generators["raft"]
        timesteps = schedule.draw(len(clean), generator).to(clean.device)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        encoded = self.bench.backbone.encode(prompts)
        prediction = self.bench.backbone.denoise(schedule.noised(clean, noise, timesteps), timesteps, encoded)
        return denoising_error(prediction, schedule.target(clean, noise, timesteps))

    # --- step ---

    def step(self, allowance: int) -> dict[str, float]:
        """Sample and judge the videos of a round, cut to ``allowance``, then train on the winners."""
        each = self.config.samples_per_prompt
        videos = sample_groups(self, min(self.config.round_queries, allowance), each)
        winners = best_of_each(videos.scores, each)
        prompts, latents = [videos.prompts[i] for i in winners], videos.clean[winners]
        updates = [self._update(prompts, latents) for _ in range(self.config.updates_per_round)]
        loss, norm = (sum(values) / len(values) for values in zip(*updates, strict=True))
        best = videos.scores[winners].mean().item()
        return {"reward": videos.scores.mean().item(), "loss": loss, "grad_norm": norm, "best": best}

    def _update(self, prompts: list[str], clean: Tensor) -> tuple[float, float]:
        """Take one step towards the latents of winners; return the loss and the norm of its gradient."""
        seen: list[Tensor] = []

        def losses() -> Iterator[Tensor]:
            first = 0
            for count in self.batches(len(prompts)):
                part = slice(first, first + count)
                errors = self.errors(prompts[part], clean[part])
                seen.append(errors.detach())
                yield errors.sum() / len(prompts)
                first += count

        norm = self.update(losses())
        return torch.cat(seen).mean().item(), norm


def best_of_each(scores: Tensor, each: int) -> list[int]:
    """Return the index of the best of each group of ``each`` in ``scores`` [B]; the last may be smaller."""
    firsts = range(0, len(scores), each)
    return [first + int(scores[first : first + each].argmax()) for first in firsts]
