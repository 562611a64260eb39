"""How every text-to-video denoiser is trained: single frames, then clips, then its own guided prediction."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from vader_bench.diffusion.schedule import Schedule
from vader_bench.pretrain.clips import ROOT_SEED
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.parallel import own_share
from vader_bench.seeding import numpy_stream, torch_stream

__all__ = ["Captioned", "Denoiser", "Steps", "train"]

_PICTURES = 48
_CLIPS = 16
"""Batch sizes."""
_EMPTY_PROMPT_SHARE = 0.1
_TOWARDS_NOISE = 0.65
"""Power that uniform draws of the timestep are raised to; 1 is uniform."""
_AVERAGE = 0.9985
"""Decay of the running average of the weights."""


class Denoiser(nn.Module):
    """A denoiser with its text encoder, trained together."""

    picture_only: Sequence[str] = ()
    """Parts of names of weights that single frames cannot teach; they wait at their start for clips."""

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Return the prediction [B, C, F, h, w] at ``latents``, ``timesteps`` [B] for token ids [B, L]."""
        raise NotImplementedError


class Rates(NamedTuple):
    """Peak learning rates of the three phases."""

    frames: float
    clips: float
    guidance: float


class Steps(NamedTuple):
    """How many steps each phase has."""

    frames: int
    clips: int
    guidance: int
    more_clips: int = 0
    """Of a second round on clips, which starts again at the peak of the learning rate."""


@dataclass(frozen=True)
class Captioned:
    """Clips with their captions, and how a batch of them is drawn and noised."""

    latents: Tensor
    """Scaled, [N, C, F, h, w]."""
    tokens: Tensor
    """[N, L]."""
    empty: Tensor
    """Of the empty prompt, [1, L]."""
    schedule: Schedule

    def draw(self, stage: str, step: int, batch: int, *, single: bool) -> _Batch:
        """Return this process's share of the batch of a step, of clips or of ``single`` frames of them."""
        rng = numpy_stream(ROOT_SEED, stage, step)
        which = torch.from_numpy(rng.integers(len(self.latents), size=batch))
        clean = self.latents[which]
        if single:
            frames = torch.from_numpy(rng.integers(clean.shape[2], size=batch))
            clean = clean[torch.arange(batch), :, frames][:, :, None]
        clean = clean.float()
        noise = torch.randn(clean.shape, generator=torch_stream(ROOT_SEED, stage, step))
        timesteps = _draw_timesteps(rng, batch).to(self.schedule.timesteps(2).dtype)
        dropped = torch.from_numpy(rng.uniform(size=batch) < _EMPTY_PROMPT_SHARE)[:, None]
        own = own_share()
        return _Batch(
            self.schedule.noised(clean, noise, timesteps)[own],
            timesteps[own],
            torch.where(dropped, self.empty, self.tokens[which])[own],
            self.schedule.target(clean, noise, timesteps)[own],
        )


class _Batch(NamedTuple):
    noisy: Tensor
    timesteps: Tensor
    tokens: Tensor
    target: Tensor


class _Loss(Protocol):
    def __call__(self, step: int) -> Tensor: ...


def train(
    name: str,
    model: Denoiser,
    data: Captioned,
    folder: Path,
    steps: Steps,
    rates: Rates,
    guidance: float,
) -> None:
    """Train ``model`` in place, by the error of what its schedule says the network should predict.

    Single frames first: they cost a fifth and teach what words look like. Then whole clips. At last the
    model learns its own prediction under classifier-free guidance, so that one call a step does what two
    did (stage one of Meng et al. 2023, arXiv:2210.03142, at one scale); the empty prompt keeps its meaning.

    Args:
        name: of the stages.
        model: is trained in place.
        data: clips and captions.
        folder: where checkpoints are kept.
        steps: of each phase.
        rates: of each phase.
        guidance: scale that the last phase teaches.
    """
    for key, weight in model.named_parameters():
        weight.requires_grad_(not any(part in key for part in model.picture_only))
    fit(
        f"{name}-frames", model, _error(model, data, f"{name}-frames", _PICTURES, single=True), folder,
        steps=steps.frames, learning_rate=rates.frames, ema=_AVERAGE,
    )  # fmt: skip
    model.requires_grad_(True)
    fit(
        f"{name}-clips", model, _error(model, data, f"{name}-clips", _CLIPS, single=False), folder,
        steps=steps.clips, learning_rate=rates.clips, ema=_AVERAGE,
    )  # fmt: skip
    if steps.more_clips:
        more = f"{name}-more-clips"
        fit(
            more, model, _error(model, data, more, _CLIPS, single=False), folder,
            steps=steps.more_clips, learning_rate=rates.clips, ema=_AVERAGE,
        )  # fmt: skip
    fit(
        f"{name}-guidance", model, _guided_error(model, data, f"{name}-guidance", guidance), folder,
        steps=steps.guidance, learning_rate=rates.guidance, ema=_AVERAGE,
    )  # fmt: skip


def _error(model: Denoiser, data: Captioned, stage: str, batch: int, *, single: bool) -> _Loss:
    def loss(step: int) -> Tensor:
        drawn = data.draw(stage, step, batch, single=single)
        return mse_loss(model(drawn.noisy, drawn.timesteps, drawn.tokens), drawn.target)

    return loss


def _guided_error(model: Denoiser, data: Captioned, stage: str, guidance: float) -> _Loss:
    teacher = deepcopy(model).requires_grad_(False)

    def loss(step: int) -> Tensor:
        drawn = data.draw(stage, step, _CLIPS, single=False)
        empty = data.empty.expand_as(drawn.tokens)
        with torch.no_grad():
            both = teacher(
                torch.cat([drawn.noisy] * 2),
                torch.cat([drawn.timesteps] * 2),
                torch.cat([empty, drawn.tokens]),
            )
        without, told = both.chunk(2)
        return mse_loss(
            model(drawn.noisy, drawn.timesteps, drawn.tokens), without + guidance * (told - without)
        )

    return loss


def _draw_timesteps(rng: np.random.Generator, count: int) -> Tensor:
    """Return timesteps [count] in (0, 1000), one from each stratum, which lowers the gradient's variance.

    More of them lie where it is noisy, because there it is decided what a video shows.
    """
    strata = (np.arange(count) + rng.uniform(size=count)) / count
    return torch.from_numpy(strata**_TOWARDS_NOISE * 1000)
