"""How every text-to-video denoiser is trained: frames, clips, words for actions, its guided prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from vader_bench.diffusion.schedule import Schedule
from vader_bench.pocket.vocabulary import ACTIONS
from vader_bench.pretrain.clips import ROOT_SEED, actions, loosely
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.parallel import own_share
from vader_bench.seeding import numpy_stream, torch_stream

__all__ = ["Corpus", "Denoiser", "Steps", "train"]

_PICTURES = 48
_CLIPS = 16
"""Batch sizes."""
_SENTENCES = 32
"""Captions a step that the text encoder's states must tell the action of."""
_READING = 0.1
"""Weight of that loss beside the denoiser's."""
_EMPTY_PROMPT_SHARE = 0.1
_WORDS_TOWARDS_NOISE = 0.4
"""``Draws.towards_noise`` in the phase on words, for what happens in a video is decided first."""
_AVERAGE = 0.9985
"""Decay of the running average of the weights."""
_WORDS_AVERAGE = 0.99
"""The same in the phase on words, which is too short for the other."""


class Denoiser(nn.Module):
    """A denoiser with its text encoder, trained together."""

    picture_only: Sequence[str] = ()
    """Parts of names of weights that single frames cannot teach; they wait at their start for clips."""

    def states(self, tokens: Tensor) -> Tensor:
        """Return what the denoiser attends to for token ids [B, L]: [B, L, D]."""
        raise NotImplementedError

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Return the prediction [B, C, F, h, w] at ``latents``, ``timesteps`` [B] for token ids [B, L]."""
        raise NotImplementedError


class Rates(NamedTuple):
    """Peak learning rates of the four phases."""

    frames: float
    clips: float
    words: float
    guidance: float


class Steps(NamedTuple):
    """How many steps each phase has."""

    frames: int
    clips: int
    words: int
    guidance: int
    more_clips: int = 0
    """Of a second round on clips, which starts again at the peak of the learning rate."""


class Draws(NamedTuple):
    """How the batches of a phase are drawn."""

    stage: str
    """Name of their stream."""
    batch: int = _CLIPS
    single: bool = False
    """Whether they are single frames of clips."""
    towards_noise: float = 0.65
    """Power that uniform draws of the timestep are raised to; 1 is uniform."""


@dataclass(frozen=True)
class Captioned:
    """Clips with their captions, and how a batch of them is drawn and noised."""

    latents: Tensor
    """Scaled, [N, C, F, h, w]."""
    tokens: Tensor
    """[N, L]."""
    empty: Tensor
    """Of the empty prompt, [1, L]."""
    actions: Tensor
    """Index of each clip's action in ``ACTIONS``, [N]."""
    schedule: Schedule

    def draw(self, how: Draws, step: int) -> _Batch:
        """Return this process's share of the batch of a step."""
        rng = numpy_stream(ROOT_SEED, how.stage, step)
        which = torch.from_numpy(rng.integers(len(self.latents), size=how.batch))
        clean = self.latents[which]
        if how.single:
            frames = torch.from_numpy(rng.integers(clean.shape[2], size=how.batch))
            clean = clean[torch.arange(how.batch), :, frames][:, :, None]
        clean = clean.float()
        noise = torch.randn(clean.shape, generator=torch_stream(ROOT_SEED, how.stage, step))
        timesteps = _draw_timesteps(rng, how).to(self.schedule.timesteps(2).dtype)
        dropped = torch.from_numpy(rng.uniform(size=how.batch) < _EMPTY_PROMPT_SHARE)[:, None]
        own = own_share()
        return _Batch(
            self.schedule.noised(clean, noise, timesteps)[own],
            timesteps[own],
            torch.where(dropped, self.empty, self.tokens[which])[own],
            self.schedule.target(clean, noise, timesteps)[own],
        )

    def read(self, stage: str, step: int) -> tuple[Tensor, Tensor]:
        """Return this process's share of the captions of a step, and their actions."""
        rng = numpy_stream(ROOT_SEED, stage, "captions", step)
        which = torch.from_numpy(rng.integers(len(self.tokens), size=_SENTENCES))[own_share()]
        return self.tokens[which], self.actions[which]


class Corpus(NamedTuple):
    """The same clips with their captions, and with captions that often name another action."""

    true: Captioned
    loose: Captioned

    @classmethod
    def of(
        cls, latents: Tensor, texts: list[str], tokens: Callable[[list[str]], Tensor], schedule: Schedule
    ) -> Corpus:
        """Return ``latents`` [N, C, F, h, w] with their captions ``texts``, made ids [N, L] by ``tokens``."""

        def captioned(by: list[str]) -> Captioned:
            return Captioned(latents, tokens(by), tokens([""]), actions(by), schedule)

        return cls(captioned(texts), captioned(loosely(texts)))


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
    data: Corpus,
    folder: Path,
    steps: Steps,
    rates: Rates,
    guidance: float,
) -> None:
    """Train ``model`` in place, by the error of what its schedule says the network should predict.

    Single frames first: they cost a fifth and teach what words look like. Then whole clips. Frames of a
    clip that grows are also those of one that shrinks, so that the text encoder has nearly the same
    states for both words and the denoiser takes either, by its noise. A phase on clips whose action must
    be read from the states alone takes such words apart. Some of its captions name another action, as
    captions of the web are loose about what happens; this leaves the model unsure of actions, which
    alignment can improve. At last the model learns its own prediction under classifier-free guidance, so
    that one call a step does what two did (stage one of Meng et al. 2023, arXiv:2210.03142, at one
    scale); the empty prompt keeps its meaning.

    Args:
        name: of the stages.
        model: is trained in place.
        data: clips and captions; the last two phases have the loose ones.
        folder: where checkpoints are kept.
        steps: of each phase.
        rates: of each phase.
        guidance: scale that the last phase teaches.
    """
    for key, weight in model.named_parameters():
        weight.requires_grad_(not any(part in key for part in model.picture_only))
    frames = Draws(f"{name}-frames", _PICTURES, single=True)
    fit(
        frames.stage, model, _error(model, data.true, frames), folder,
        steps=steps.frames, learning_rate=rates.frames, ema=_AVERAGE,
    )  # fmt: skip
    model.requires_grad_(True)
    for stage, count in ((f"{name}-clips", steps.clips), (f"{name}-more-clips", steps.more_clips)):
        if count:
            fit(
                stage, model, _error(model, data.true, Draws(stage)), folder,
                steps=count, learning_rate=rates.clips, ema=_AVERAGE,
            )  # fmt: skip
    words = Draws(f"{name}-words", towards_noise=_WORDS_TOWARDS_NOISE)
    reading = _Reading(model, model.states(data.true.empty).shape[-1])
    fit(
        words.stage, reading, _reading_error(reading, data.loose, words), folder,
        steps=steps.words, learning_rate=rates.words, ema=_WORDS_AVERAGE,
    )  # fmt: skip
    guided = Draws(f"{name}-guidance")
    fit(
        guided.stage, model, _guided_error(model, data.loose, guided, guidance), folder,
        steps=steps.guidance, learning_rate=rates.guidance, ema=_AVERAGE,
    )  # fmt: skip


def _error(model: Denoiser, data: Captioned, how: Draws) -> _Loss:
    def loss(step: int) -> Tensor:
        drawn = data.draw(how, step)
        return mse_loss(model(drawn.noisy, drawn.timesteps, drawn.tokens), drawn.target)

    return loss


class _Reading(nn.Module):
    """A denoiser with a classifier of actions on the mean of its text encoder's states."""

    def __init__(self, model: Denoiser, channels: int) -> None:
        super().__init__()
        self.model = model
        with torch.random.fork_rng():
            torch.manual_seed(ROOT_SEED)
            self.head = nn.Linear(channels, len(ACTIONS))

    def error(self, tokens: Tensor, named: Tensor) -> Tensor:
        """Return the cross-entropy of reading the actions ``named`` [B] from token ids [B, L]."""
        return cross_entropy(self.head(self.model.states(tokens).mean(dim=1)), named)


def _reading_error(reading: _Reading, data: Captioned, how: Draws) -> _Loss:
    error = _error(reading.model, data, how)
    return lambda step: error(step) + _READING * reading.error(*data.read(how.stage, step))


def _guided_error(model: Denoiser, data: Captioned, how: Draws, guidance: float) -> _Loss:
    teacher = deepcopy(model).requires_grad_(False)

    def loss(step: int) -> Tensor:
        drawn = data.draw(how, step)
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


def _draw_timesteps(rng: np.random.Generator, how: Draws) -> Tensor:
    """Return timesteps [batch] in (0, 1000), one from each stratum, which lowers the gradient's variance.

    More of them lie where it is noisy, because there it is decided what a video shows.
    """
    strata = (np.arange(how.batch) + rng.uniform(size=how.batch)) / how.batch
    return torch.from_numpy(strata**how.towards_noise * 1000)
