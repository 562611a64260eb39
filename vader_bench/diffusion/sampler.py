"""One sampler with three modes: plain, with log-probabilities, with a truncated gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vader_bench.diffusion.schedule import Schedule
from vader_bench.errors import UserError

__all__ = ["Guidance", "Sampler", "Trajectory", "draw_noise", "gaussian_log_prob", "guided_prediction"]

Denoise = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(latents [B, C, F, h, w], timesteps [B], encoded text [B, L, D]) to prediction [B, C, F, h, w]."""
Noise = Callable[[], Tensor]
"""Each call returns standard normal noise [B, C, F, h, w]."""


def no_noise() -> Tensor:
    """Refuse: for samplers that are deterministic.

    Raises:
        ValueError: always.
    """
    raise ValueError("a sampler with eta above 0 needs a source of noise")


class Guidance(NamedTuple):
    """A guidance scale for each of two networks that share the way (Wan 2.2)."""

    high: float
    """For timesteps from ``boundary`` up."""
    low: float
    """For those below."""
    boundary: float
    """A timestep."""

    def at(self, timesteps: Tensor) -> Tensor:
        """Return the scale at each of ``timesteps`` [B], in a shape that multiplies predictions."""
        scales = torch.where(timesteps >= self.boundary, self.high, self.low)
        return scales.reshape(-1, 1, 1, 1, 1)


class Trajectory(NamedTuple):
    """A sampled video with the way to it, for B videos and S steps."""

    states: Tensor
    """Latents [B, S + 1, C, F, h, w]: the starting noise first, the clean latents last."""
    log_probs: Tensor
    """[B, S]: log-probability of each step, mean over the elements of the latents."""


@dataclass(frozen=True)
class Sampler:
    """Steps back through a schedule with classifier-free guidance (Ho and Salimans 2022)."""

    denoise: Denoise
    schedule: Schedule
    steps: int
    """S, the number of steps."""
    eta: float
    """Noise level: 0 is deterministic; what 1 means is the schedule's matter (DDIM: the variance of DDPM)."""
    guidance: Guidance | float
    """Guidance scale; 1 is none."""
    frozen: Callable[[], AbstractContextManager[None]] = nullcontext
    """Entered around steps without a graph: ``Lora.merged`` makes them cheaper."""

    def plain(self, start: Tensor, encoded: Tensor, unconditional: Tensor, noise: Noise = no_noise) -> Tensor:
        """Return clean latents [B, C, F, h, w] without a graph.

        Args:
            start: starting noise [B, C, F, h, w].
            encoded: the condition [B, L, D].
            unconditional: what guidance contrasts it with [1 or B, L, D]; read if guidance is not 1.
            noise: called once a step; needed only if eta is above 0.
        """
        return self.truncated(start, encoded, unconditional, noise, last=0)

    def truncated(
        self, start: Tensor, encoded: Tensor, unconditional: Tensor, noise: Noise, *, last: int
    ) -> Tensor:
        """Return clean latents [B, C, F, h, w] whose graph holds the last ``last`` steps only.

        Arguments as for ``plain``. The steps before leave nothing behind, so memory does not grow
        with the number of steps (VADER, Prabhudesai et al. 2024, algorithm 1). Gradient flows through
        both branches of the guidance and from step to step through the latents.
        """
        latents = self.schedule.start_scale * start
        ladder = list(self.ladder(start))
        parts = [(False, ladder[: self.steps - last]), (True, ladder[self.steps - last :])]
        for graph, part in parts:
            with torch.set_grad_enabled(graph), nullcontext() if graph else self.frozen():
                latents = self._walked(part, latents, encoded, unconditional, noise)
        return latents

    def foreseen(
        self, start: Tensor, encoded: Tensor, unconditional: Tensor, noise: Noise, *, step: int
    ) -> Tensor:
        """Return the clean latents [B, C, F, h, w] that the network sees before ``step``, counted from 0.

        Arguments as for ``plain``. The steps before leave no graph; that of the result is one call's (ReFL,
        Xu et al. 2023, algorithm 1).
        """
        latents = self.schedule.start_scale * start
        *before, (now, _) = list(self.ladder(start))[: step + 1]
        with torch.no_grad(), self.frozen():
            latents = self._walked(before, latents, encoded, unconditional, noise)
        prediction = guided_prediction(self.denoise, latents, now, encoded, unconditional, self.guidance)
        return self.schedule.split(prediction, latents, now)[0]

    def _walked(
        self,
        steps: Iterable[tuple[Tensor, Tensor]],
        latents: Tensor,
        encoded: Tensor,
        unconditional: Tensor,
        noise: Noise,
    ) -> Tensor:
        """Return ``latents`` [B, C, F, h, w] after ``steps`` of the ladder."""
        for now, following in steps:
            mean, std = self.step(latents, encoded, unconditional, now, following)
            latents = mean + std * noise() if self.eta > 0 else mean
        return latents

    @torch.no_grad()
    def with_log_probs(
        self, start: Tensor, encoded: Tensor, unconditional: Tensor, noise: Noise
    ) -> Trajectory:
        """Return every state on the way and the log-probability of each step, without a graph.

        Arguments as for ``plain``.

        Raises:
            UserError: eta is 0, so that a step has no density.
        """
        self.require_density()
        states, log_probs = [self.schedule.start_scale * start], []
        with self.frozen():
            for now, following in self.ladder(start):
                mean, std = self.step(states[-1], encoded, unconditional, now, following)
                states.append(mean + std * noise())
                log_probs.append(gaussian_log_prob(states[-1], mean, std))
        return Trajectory(torch.stack(states, 1), torch.stack(log_probs, 1))

    def log_prob(self, prediction: Tensor, latents: Tensor, timesteps: Tensor, reached: Tensor) -> Tensor:
        """Return the log-probability [B] of stepping from ``latents`` to ``reached``, both [B, C, F, h, w].

        Args:
            prediction: (guided) prediction of the network at ``latents`` [B, C, F, h, w].
            latents: state before the step.
            timesteps: timestep of that state [B], each one of the sampler's.
            reached: state after the step; no gradient flows into it.
        """
        following = self.schedule.previous(timesteps, self.steps)
        mean, std = self.schedule.transition(prediction, latents, timesteps, following, self.eta)
        return gaussian_log_prob(reached, mean, std)

    def step_kl(self, prediction: Tensor, other: Tensor, latents: Tensor, timesteps: Tensor) -> Tensor:
        """Return the KL divergence [B] of the step that ``prediction`` makes from that of ``other``, in nats.

        Both are Gaussian with the same standard deviation s: ``|m - m_other|^2 / (2 s^2)``, the MEAN over all
        elements, as log-probabilities are. Arguments as for ``log_prob``.
        """
        following = self.schedule.previous(timesteps, self.steps)
        mean, std = self.schedule.transition(prediction, latents, timesteps, following, self.eta)
        others, _ = self.schedule.transition(other, latents, timesteps, following, self.eta)
        return ((mean - others).square() / (2 * std.square())).flatten(1).mean(1)

    def require_density(self) -> None:
        """Refuse eta = 0.

        Raises:
            UserError: eta is 0.
        """
        if self.eta <= 0:
            raise UserError(
                f"sampler eta = {self.eta}", "gives no log-probability", "set eta above 0, for example to 1"
            )

    def ladder(self, start: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (timesteps, following timesteps), both [B], one pair a step."""
        ladder = self.schedule.timesteps(self.steps).to(start.device)
        for now, following in zip(ladder, self.schedule.previous(ladder, self.steps), strict=True):
            yield now.expand(len(start)), following.expand(len(start))

    def step(
        self, latents: Tensor, encoded: Tensor, unconditional: Tensor, now: Tensor, following: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return mean [B, C, F, h, w] and standard deviation [B, 1, ...] of the step from ``now`` [B]."""
        prediction = guided_prediction(self.denoise, latents, now, encoded, unconditional, self.guidance)
        return self.schedule.transition(prediction, latents, now, following, self.eta)


def guided_prediction(
    denoise: Denoise,
    latents: Tensor,
    timesteps: Tensor,
    encoded: Tensor,
    unconditional: Tensor,
    guidance: Guidance | float,
) -> Tensor:
    """Return ``u + g (c - u)`` [B, C, F, h, w] from one call with a doubled batch, or ``c`` if g is 1.

    ``c`` and ``u`` are the predictions with ``encoded`` [B, L, D] and ``unconditional`` [1 or B, L, D]
    (Ho and Salimans 2022, equation 6, with g = w + 1).
    """
    if guidance == 1:
        return denoise(latents, timesteps, encoded)
    conditions = torch.cat([unconditional.expand_as(encoded), encoded])
    both = denoise(torch.cat([latents] * 2), torch.cat([timesteps] * 2), conditions)
    without, conditional = both.chunk(2)
    scale = guidance.at(timesteps) if isinstance(guidance, Guidance) else guidance
    return without + scale * (conditional - without)


def gaussian_log_prob(reached: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return the log-density [B] of ``reached`` under ``N(mean, std^2)``, the MEAN over all elements.

    The likelihood is the sum; the mean is what DDPO's code uses (Black et al. 2023, and trl), and its
    clip range is chosen for it. No gradient flows into ``reached``.
    """
    density = -((reached.detach() - mean) ** 2) / (2 * std**2) - std.log() - 0.5 * math.log(2 * math.pi)
    return density.flatten(1).mean(1)


def draw_noise(shape: tuple[int, ...], generator: torch.Generator, device: str | torch.device) -> Tensor:
    """Return standard normal noise of ``shape``, drawn on the CPU and then moved to ``device``."""
    return torch.randn(shape, generator=generator).to(device)
