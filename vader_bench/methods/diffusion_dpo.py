"""Diffusion-DPO: prefer the better of two samples by their denoising errors, with trl's DPO loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor

from vader_bench.config.yamlfile import rule
from vader_bench.errors import UserError
from vader_bench.methods.base import Method, MethodConfig, Workbench
from vader_bench.methods.denoising import denoising_error

__all__ = [
    "DiffusionDpo",
    "DiffusionDpoConfig",
    "PreferencePair",
    "best_and_worst",
    "dpo_loss",
    "group_sizes",
]

# --- config ---


class DiffusionDpoConfig(MethodConfig):
    """Hyper-parameters of Diffusion-DPO; defaults of its authors' code where they apply."""

    learning_rate: float = Field(default=1e-5, gt=0)
    accumulation: int = Field(default=1, ge=1)
    """Batches whose pairs make one update."""
    beta: float = Field(default=5000.0, gt=0)
    """Strength of the pull towards the base model. It multiplies errors averaged over the latents, so
    it means something else for latents of another size."""
    pairs: Literal["online", "offline"] = "online"
    """``online``: pairs of fresh samples, used in the round that drew them. ``offline``: pairs of samples
    of the base model, kept; each update draws from all pairs so far."""
    group_size: int = Field(default=2, ge=2)
    """Videos per prompt; the best and the worst of them make the pair."""
    updates_per_pair: int = Field(default=1, ge=1)
    """Updates a pair takes part in (offline: on average), each with fresh noise and timesteps."""

    @property
    def least_batch(self) -> int:
        """Return a whole group."""
        return self.group_size

    @property
    def round_queries(self) -> int:
        """Return the videos whose pairs make an update."""
        return self.batch_size * self.accumulation

    @property
    def most_devices(self) -> int:
        """Return how many devices can share the winners and losers of a batch, which are updated on."""
        return 2 * (self.batch_size // self.group_size)

    @model_validator(mode="after")
    def _whole_groups(self) -> DiffusionDpoConfig:
        if self.batch_size % self.group_size:
            wrong = f"batch_size {self.batch_size} is not a multiple of group_size {self.group_size}"
            raise rule(wrong, "change the one or the other")
        return self


# --- setup ---


class PreferencePair(NamedTuple):
    """Two samples for one prompt; the winner scored higher."""

    prompt: str
    winner: Tensor
    """Clean latents [C, F, h, w]."""
    loser: Tensor
    """Clean latents [C, F, h, w]."""


class DiffusionDpo(Method):
    """Diffusion-DPO (Wallace et al. 2023) on pairs labelled by the reward; every label costs its queries.

    Metrics beside the common ones; all but ``reward`` and ``pairs`` are missing when the videos of
    every prompt scored alike, so that there is no pair and no update:

    ============ ===================================================================
    pairs        pairs labelled in this step
    accuracy     share of pairs on which the model leans to the winner more than the base does
    margin       mean of the logit inside the loss, beta included
    mse_winner   denoising error of the model on winners
    mse_loser    denoising error of the model on losers
    ref_winner   denoising error of the base model on winners
    ref_loser    denoising error of the base model on losers
    ============ ===================================================================
    """

    Config = DiffusionDpoConfig
    baseline = True
    streams = ("dpo",)
    config: DiffusionDpoConfig

    def __init__(self, config: DiffusionDpoConfig, bench: Workbench) -> None:
        """Set up."""
        super().__init__(config, bench)
        _trl_loss()  # not while the device is timed
        self._kept: list[PreferencePair] = []

    # --- loss ---

    def errors(self, pairs: list[PreferencePair]) -> tuple[Tensor, Tensor]:
        """Return denoising errors [2, P] of model and base, winners first.

        The error is the mean over all elements of a video's latents. Winner and loser of a pair share
        timestep and noise; the base model is the network without its adapters.
        """
        backbone, schedule, generator = (
            self.bench.backbone,
            self.bench.backbone.schedule,
            self.generators["dpo"],
        )
        clean = torch.stack([pair.winner for pair in pairs] + [pair.loser for pair in pairs])
        timesteps = schedule.draw(len(pairs), generator)
        noise = torch.randn(len(pairs), *backbone.latent_shape, generator=generator)
        timesteps, noise = (torch.cat([half, half]).to(clean.device) for half in (timesteps, noise))
        noisy, target = schedule.noised(clean, noise, timesteps), schedule.target(clean, noise, timesteps)
        encoded = backbone.encode([pair.prompt for pair in pairs] * 2)

        def error() -> Tensor:
            return denoising_error(backbone.denoise(noisy, timesteps, encoded), target).reshape(2, -1)

        with torch.no_grad(), self.lora.disabled():
            reference = error()
        return error(), reference

    # --- step ---

    def step(self, allowance: int) -> dict[str, float]:
        """Label the pairs of up to ``batch_size * accumulation`` videos, then update.

        One video more than ``batch_size`` is taken where a single query would be left over, which
        could not make a pair.

        Raises:
            UserError: ``allowance`` is 1.
        """
        if allowance < 2:
            raise UserError(
                "a budget or evaluation interval with 1 query left",
                "cannot make a pair for diffusion-dpo",
                "choose even numbers of reward queries",
            )
        videos = min(self.config.round_queries, allowance)
        if allowance - videos == 1:  # a video left over would have no pair
            videos = allowance
        fresh, reward = self._labelled(videos)
        online = self.config.pairs == "online"
        self._kept = fresh if online else self._kept + fresh
        updates = [
            self._update(self._batch(len(fresh))) for _ in range(self.config.updates_per_pair) if fresh
        ]
        if online:
            self._kept = []
        names = updates[0].keys() if updates else ()
        means = {name: sum(update[name] for update in updates) / len(updates) for name in names}
        return {"reward": reward, "pairs": float(len(fresh)), **means}

    def _labelled(self, videos: int) -> tuple[list[PreferencePair], float]:
        """Sample and judge ``videos`` videos in batches; return the pairs and the mean score."""
        *sizes, last = self.batches(videos)
        if last == 1 and sizes:  # no pair by itself
            last += sizes.pop()
        frames = self.choose_frames()
        labelled = [(size, *self._label(size, frames)) for size in (*sizes, last)]
        pairs = [pair for _, found, _ in labelled for pair in found]
        return pairs, sum(size * reward for size, _, reward in labelled) / videos

    @torch.no_grad()
    def _label(self, videos: int, frames: Sequence[int]) -> tuple[list[PreferencePair], float]:
        """Sample ``videos`` videos and judge their ``frames``; return the pairs and the mean score."""
        sizes = group_sizes(videos, self.config.group_size)
        prompts = [p for p, n in zip(self.next_prompts(len(sizes)), sizes, strict=True) for _ in range(n)]
        encoded, noise = self.bench.backbone.encode(prompts), self.noise(videos)
        unconditional = self.bench.backbone.unconditional(encoded)
        with self.lora.disabled() if self.config.pairs == "offline" else nullcontext():
            latents = self.sampler.plain(noise(), encoded, unconditional, noise)
        scores = self.judge(latents, prompts, frames).score
        found = best_and_worst(scores, sizes)
        # copies: a view that is kept would keep the whole batch, here and in every checkpoint
        pairs = [PreferencePair(prompts[w], latents[w].clone(), latents[b].clone()) for w, b in found]
        return pairs, scores.mean().item()

    def _batch(self, count: int) -> list[PreferencePair]:
        """Return ``count`` of the kept pairs, in a random order."""
        order = torch.randperm(len(self._kept), generator=self.generators["dpo"])
        return [self._kept[i] for i in order[:count]]

    def _update(self, pairs: list[PreferencePair]) -> dict[str, float]:
        size = self.config.batch_size // self.config.group_size
        seen: list[tuple[Tensor, ...]] = []

        def shares() -> Iterator[Tensor]:
            for first in range(0, len(pairs), size):
                model, reference = self.errors(pairs[first : first + size])
                losses, margins = dpo_loss(model, reference, self.config.beta)
                seen.append(tuple(part.detach() for part in (losses, margins, model, reference)))
                yield losses.mean() * (len(losses) / len(pairs))

        norm = self.update(shares())
        losses, margins, model, reference = (torch.cat(parts, dim=-1) for parts in zip(*seen, strict=True))
        return {
            "loss": losses.mean().item(),
            "grad_norm": norm,
            "accuracy": (margins > 0).float().mean().item(),
            "margin": margins.mean().item(),
            "mse_winner": model[0].mean().item(),
            "mse_loser": model[1].mean().item(),
            "ref_winner": reference[0].mean().item(),
            "ref_loser": reference[1].mean().item(),
        }

    # --- state ---

    def own_state(self) -> dict[str, Any]:
        """Return the kept pairs."""
        return {"pairs": [pair._asdict() for pair in self._kept]}

    def load_own_state(self, state: dict[str, Any]) -> None:
        """Take the kept pairs back."""
        device = self.bench.device
        self._kept = [
            PreferencePair(pair["prompt"], pair["winner"].to(device), pair["loser"].to(device))
            for pair in state["pairs"]
        ]


@dataclass(frozen=True)
class _LossSettings:
    """What ``DPOTrainer.dpo_loss`` reads from its trainer: a plain sigmoid loss with a reference model."""

    beta: float
    accelerator: SimpleNamespace
    reference_free: bool = False
    label_smoothing: float = 0.0
    f_divergence_type: str = "reverse_kl"
    f_divergence_params: None = None


@cache
def _trl_loss() -> Any:
    """Return trl's loss, a method of a trainer that would load a language model: called without one.

    What it imports takes seconds (datasets, MLflow), which workers with another method are spared.
    """
    from trl.trainer.dpo_trainer import DPOTrainer

    return DPOTrainer.dpo_loss


def dpo_loss(model: Tensor, reference: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Return losses [P] and margins [P] from denoising errors [2, P] of model and base, winners first.

    ``loss = -log sigmoid(margin)`` with ``margin = -beta / 2 ((m_w - m_l) - (r_w - r_l))`` (Wallace et
    al. 2023, equation 14, with ``T w(lambda)`` part of beta). This is trl's ``DPOTrainer.dpo_loss``
    with ``logps = -error`` and half of beta.
    """
    settings = _LossSettings(beta / 2, SimpleNamespace(device=model.device))
    losses, chosen, rejected = _trl_loss()(
        settings, -model[0], -model[1], -reference[0], -reference[1], loss_type="sigmoid"
    )
    return losses, chosen - rejected


def group_sizes(videos: int, size: int) -> list[int]:
    """Return the sizes of groups of about ``size`` that ``videos`` (at least 2) make, none of them 1."""
    borders = list(range(0, videos - 1, size))
    return [end - start for start, end in pairwise([*borders, videos])]


def best_and_worst(scores: Tensor, sizes: list[int]) -> list[tuple[int, int]]:
    """Return the indices of the best and the worst video of each group; a group that ties has no pair.

    Args:
        scores: [B], group after group.
        sizes: size of each group; they add up to B.
    """
    found = []
    start = 0
    for size in sizes:
        group = scores[start : start + size]
        best, worst = int(group.argmax()), int(group.argmin())
        if group[best] > group[worst]:
            found.append((start + best, start + worst))
        start += size
    return found
