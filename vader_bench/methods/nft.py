"""NFT: contrast a better and a worse model along the forward process, without log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from vader_bench.methods.base import Method, Workbench
from vader_bench.methods.groups import GroupConfig, GroupSamples, group_advantages, sample_groups

__all__ = ["ContrastedLoss", "Nft", "NftConfig", "contrasted_loss", "goodness"]

# --- config ---


class NftConfig(GroupConfig):
    """Hyper-parameters of DiffusionNFT; defaults of its authors' code where they apply."""

    learning_rate: float = Field(default=3e-4, gt=0)
    prompts_per_round: int = Field(default=2, ge=1)
    """Prompts sampled between two rounds of updates."""
    samples_per_prompt: int = Field(default=8, ge=2)
    """Videos of a prompt, which are compared."""
    updates_per_round: int = Field(default=1, ge=1)
    """Optimiser steps on the samples of a round, each on another part of them."""
    strength: float = Field(default=1.0, gt=0)
    """beta: how far the better and the worse model are from the one that sampled."""
    advantage_clip: float = Field(default=5.0, gt=0)
    """An advantage of so much, or more, makes a sample wholly good; of minus so much, wholly bad."""
    global_deviation: bool = True
    """Divide by the standard deviation of all rewards of the round, not by that of a prompt's."""
    timestep_fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the sampler's timesteps at which a video is trained on, drawn at random for each."""
    kl_weight: float = Field(default=1e-4, ge=0)
    """Weight of the squared distance of predictions from the base model's; 0 saves a call of the denoiser."""
    old_decay_rate: float = Field(default=1e-3, ge=0)
    """Share of itself that the model that samples keeps after a round, for each update made so far."""
    old_decay_limit: float = Field(default=0.5, ge=0, lt=1)
    """The most that it keeps; the rest it takes from the model that is trained."""


# --- setup ---


class Nft(Method):
    """DiffusionNFT (Zheng et al. 2025, arXiv:2509.16117): policy improvement in the forward process.

    The model that samples follows the trained one slowly. Metrics beside the common ones:

    ============= ===================================================================
    policy_loss   the loss without the pull to the base model
    old_deviation mean squared distance of predictions from those of the model that samples
    kl            mean squared distance of predictions from those of the base model; 0 if it is not asked
    goodness_std  standard deviation of how good samples are taken to be, in [0, 1]
    ============= ===================================================================
    """

    Config = NftConfig
    baseline = True
    streams = ("nft",)
    config: NftConfig

    def __init__(self, config: NftConfig, bench: Workbench) -> None:
        """Set up."""
        super().__init__(config, bench)
        self._old = [weight.detach().clone() for weight in self.lora.parameters()]
        self._updates = 0

    # --- sampling ---

    @contextmanager
    def _old_model(self) -> Iterator[None]:
        """Make the model inside the one that samples."""
        weights = self.lora.parameters()
        trained = [weight.detach().clone() for weight in weights]
        _copy(self._old, weights)
        try:
            yield
        finally:
            _copy(trained, weights)

    # --- loss ---

    def _loss(self, videos: GroupSamples, good: Tensor, rows: Tensor, timesteps: Tensor) -> ContrastedLoss:
        """Return the loss of the videos ``rows`` [R], ``good`` [V] as they are, at ``timesteps`` [R]."""
        schedule, clean, encoded = (
            self.bench.backbone.schedule,
            videos.clean[rows],
            videos.encoded[rows],
        )
        noise = torch.randn(clean.shape, generator=self.generators["nft"]).to(clean.device)
        noisy = schedule.noised(clean, noise, timesteps)

        def predict() -> Tensor:
            return self.bench.backbone.denoise(noisy, timesteps, encoded)

        with torch.no_grad():
            with self._old_model():
                old = predict()
            base = None
            if self.config.kl_weight:
                with self.lora.disabled():
                    base = predict()
        prediction = predict()

        def seen(mixed: Tensor) -> Tensor:
            return schedule.split(mixed, noisy, timesteps)[0]

        strength = self.config.strength
        better = seen(strength * prediction + (1 - strength) * old)
        worse = seen((1 + strength) * old - strength * prediction)
        policy = contrasted_loss(better, worse, clean, good[rows], strength)
        policy = policy * self.config.advantage_clip
        kl = prediction.new_zeros(()) if base is None else (prediction - base).square().mean()
        deviation = (prediction - old).square().mean()
        return ContrastedLoss(policy + self.config.kl_weight * kl, policy, deviation, kl)

    # --- step ---

    def step(self, allowance: int) -> dict[str, float]:
        """Sample and judge the videos of a round, cut to ``allowance``, update; the old model follows."""
        config, count = self.config, min(self.config.round_queries, allowance)
        with self._old_model():
            videos = sample_groups(self, count, config.samples_per_prompt)
        advantages = group_advantages(videos.scores, config.samples_per_prompt, config.global_deviation)
        good = goodness(advantages, config.advantage_clip)
        seen: list[ContrastedLoss] = []
        norms = [
            self.update(self._losses(videos, good, part, seen))
            for part in self._parts(count, videos.clean.device)
        ]
        self._updates += len(norms)
        self._follow()
        loss, policy, deviation, kl = (torch.stack(parts).mean().item() for parts in zip(*seen, strict=True))
        return {
            "reward": videos.scores.mean().item(),
            "loss": loss,
            "grad_norm": sum(norms) / len(norms),
            "policy_loss": policy,
            "old_deviation": deviation,
            "kl": kl,
            "goodness_std": good.std(correction=0).item(),
        }

    def _parts(self, videos: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
        """Return for each update of a round which video [R] is trained on at which timestep [R]."""
        ladder = self.bench.backbone.schedule.timesteps(self.bench.steps)
        trained = max(1, int(self.config.timestep_fraction * len(ladder)))
        generator = self.generators["nft"]
        drawn = [torch.randperm(len(ladder), generator=generator)[:trained] for _ in range(videos)]
        rows = torch.arange(videos).repeat_interleave(trained)
        order = torch.randperm(len(rows), generator=generator)
        updates = min(self.config.updates_per_round, len(rows))
        at = ladder[torch.cat(drawn)]
        # `chunk` would make fewer parts where their sizes differ
        return [(rows[part].to(device), at[part].to(device)) for part in order.tensor_split(updates)]

    def _losses(
        self, videos: GroupSamples, good: Tensor, part: tuple[Tensor, Tensor], seen: list[ContrastedLoss]
    ) -> Iterator[Tensor]:
        """Yield the share of each batch in the loss of an update; add what is to be logged to ``seen``."""
        rows, timesteps = part
        size = self.config.batch_size
        for some, when in zip(rows.split(size), timesteps.split(size), strict=True):
            found = self._loss(videos, good, some, when)
            seen.append(ContrastedLoss(*(value.detach() for value in found)))
            yield found.loss * (len(some) / len(rows))

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the model that samples towards the trained one."""
        kept = min(self.config.old_decay_rate * self._updates, self.config.old_decay_limit)
        for old, weight in zip(self._old, self.lora.parameters(), strict=True):
            old.mul_(kept).add_(weight, alpha=1 - kept)

    # --- state ---

    def own_state(self) -> dict[str, Any]:
        """Return the model that samples, and how many updates were made."""
        return {"old": [weight.cpu().clone() for weight in self._old], "updates": self._updates}

    def load_own_state(self, state: dict[str, Any]) -> None:
        """Take both back."""
        _copy(state["old"], self._old)
        self._updates = state["updates"]


class ContrastedLoss(NamedTuple):
    """The loss of a batch, and what is logged of it; numbers."""

    loss: Tensor
    policy: Tensor
    old_deviation: Tensor
    kl: Tensor


def goodness(advantages: Tensor, clip: float) -> Tensor:
    """Return how good videos are [V], in [0, 1], by ``advantages`` [V], which count up to ``clip``."""
    return (advantages / clip).clamp(-1, 1) / 2 + 0.5


def contrasted_loss(
    better: Tensor, worse: Tensor, clean: Tensor, goodness: Tensor, strength: float
) -> Tensor:
    """Return the policy loss of videos, a number (arXiv:2509.16117, in the weighting of its code).

    ``r |x_better - x|^2 + (1 - r) |x_worse - x|^2``, each divided by its own mean absolute error, without a
    gradient through that, and by beta.

    Args:
        better: clean latents that the better model sees [R, C, F, h, w].
        worse: those that the worse model sees.
        clean: the samples.
        goodness: r [R].
        strength: beta.
    """
    towards, away = (_weighted_error(seen, clean) for seen in (better, worse))
    return ((goodness * towards + (1 - goodness) * away) / strength).mean()


def _weighted_error(seen: Tensor, clean: Tensor) -> Tensor:
    """Return the mean squared error [R], in units of the mean absolute one."""
    error = seen - clean
    scale = error.detach().double().abs().flatten(1).mean(1).clamp(min=1e-5)
    return (error.square().flatten(1).double() / scale[:, None]).mean(1).to(error.dtype)


@torch.no_grad()
def _copy(source: Sequence[Tensor], target: Sequence[Tensor]) -> None:
    for value, weight in zip(source, target, strict=True):
        weight.copy_(value)
