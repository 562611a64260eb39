"""Forward processes of diffusion models, and the way back through them, step by step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor

from vader_bench.diffusion.ladder import BETA_KEYS, Ladder, Spacing, choice, with_defaults
from vader_bench.errors import UserError

__all__ = ["NoiseSchedule", "Schedule"]

Prediction = Literal["epsilon", "v_prediction"]


class Schedule(ABC):
    """A forward process ``x_t = signal_t x_0 + spread_t e``, and the way back through it.

    What the network predicts differs from schedule to schedule; all of them turn the prediction into the
    clean latents and the noise that it sees, and everything else is said in terms of these two.
    """

    start_scale: float = 1.0
    """Spread at the first timestep: what standard normal noise is multiplied by before sampling starts."""

    @abstractmethod
    def timesteps(self, steps: int) -> Tensor:
        """Return the timesteps [steps] of a sampler, noisiest first."""

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return training timesteps [count], drawn as the model was trained, on the CPU."""

    @abstractmethod
    def noised(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return ``x_t`` of ``clean`` [B, ...] and ``noise`` [B, ...] at ``timesteps`` [B]."""

    @abstractmethod
    def target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return what the network should predict [B, ...] for ``noised(clean, noise, timesteps)``."""

    @abstractmethod
    def split(self, prediction: Tensor, latents: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clean latents and the noise, both [B, ...], that ``prediction`` sees in ``latents``."""

    @abstractmethod
    def transition(
        self, prediction: Tensor, latents: Tensor, timesteps: Tensor, following: Tensor, eta: float
    ) -> tuple[Tensor, Tensor]:
        """Return mean [B, ...] and standard deviation [B, 1, ...] of one step back.

        Args:
            prediction: output of the network [B, ...].
            latents: its noisy input [B, ...].
            timesteps: t [B].
            following: t' [B], less noisy.
            eta: noise level; 0 is deterministic.
        """

    def previous(self, timesteps: Tensor, steps: int) -> Tensor:
        """Return the timesteps [B] that follow ``timesteps`` [B] in a sampler of ``steps`` steps, 0 the last.

        Raises:
            ValueError: a timestep is not one of the sampler's.
        """
        ladder = self.timesteps(steps).to(timesteps.device)
        found = timesteps[:, None] == ladder
        if not bool(found.any(dim=1).all()):
            raise ValueError(
                f"timesteps {timesteps.tolist()} are not all among the sampler's {ladder.tolist()}"
            )
        following = torch.cat([ladder[1:], ladder.new_zeros(1)])
        return following[found.int().argmax(dim=1)]


@dataclass(frozen=True, eq=False)
class NoiseSchedule(Schedule):
    """The process ``x_t = s_t sqrt(a_t) x_0 + sqrt(1 - a_t) e`` over T training timesteps, stepped by DDIM.

    The way back always ends at timestep 0 with ``a_0 < 1``, so that the last step of a sampler with
    noise has a density. This is diffusers' ``set_alpha_to_one = False``, and what trl's DDPO and
    VideoCrafter do.
    """

    alphas_cumprod: Tensor
    """``a_t`` [T], float32, decreasing."""
    prediction_type: Prediction
    """What the network predicts: the noise ``e``, or ``v = sqrt(a_t) e - sqrt(1 - a_t) s_t x_0``
    (Salimans and Ho 2022, appendix D)."""
    spacing: Spacing = "leading"
    """Where S of the T timesteps lie: Lin et al. 2023, table 2."""
    offset: int = 1
    """First timestep under ``leading``."""
    scale: Tensor | None = None
    """``s_t`` [T] of VideoCrafter2, which shrinks the signal at large t; 1 everywhere if ``None``."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], source: str = "scheduler config") -> NoiseSchedule:
        """Return the schedule of a diffusers scheduler config.

        Args:
            config: keys and values of ``scheduler_config.json``.
            source: where the config comes from, for messages.

        Raises:
            UserError: the config asks for arithmetic that the sampler does not have.
        """
        config = with_defaults(config, source)
        prediction = choice(source, "prediction_type", config.get("prediction_type", "epsilon"), Prediction)
        ladder = Ladder.from_config(config, source)
        if config.get("rescale_betas_zero_snr") and prediction == "epsilon":
            # at the first timestep nothing of the data is left, and the noise tells nothing about it
            given = f"{source}: rescale_betas_zero_snr = true with prediction_type = 'epsilon'"
            remedy = "give the scheduler that the model was trained with, which predicts v"
            raise UserError(given, "divides by zero", remedy)
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler  # late: it takes seconds to import

        try:
            scheduler = DDIMScheduler(**{key: config[key] for key in BETA_KEYS if key in config})
        except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            remedy = "give the scheduler that the model was trained with"
            raise UserError(
                source, f"describes no schedule ({str(error).splitlines()[0]})", remedy
            ) from error
        return cls(scheduler.alphas_cumprod, cast("Prediction", prediction), ladder.spacing, ladder.offset)

    @property
    def length(self) -> int:
        """Return T, the number of training timesteps."""
        return len(self.alphas_cumprod)

    def timesteps(self, steps: int) -> Tensor:
        """Return the timesteps [steps] of a sampler, int64, largest first.

        ``trailing`` ones are diffusers' to the last bit of its floating numbers, but for an extra timestep -1
        after the last, which these give it for 29 of the numbers up to 666 (of 1,000 timesteps).

        Raises:
            UserError: there are fewer timesteps than ``steps``, or the last one is 0, where no noise
                is left to remove.
        """
        return torch.tensor(Ladder(self.length, self.spacing, self.offset).timesteps(steps))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return training timesteps [count], int64, uniform from 0 to T - 1."""
        return torch.randint(self.length, (count,), generator=generator)

    def alpha(self, timesteps: Tensor, like: Tensor) -> Tensor:
        """Return ``a_t`` for ``timesteps`` [B], shaped to multiply ``like`` [B, ...]."""
        return _lookup(self.alphas_cumprod, timesteps, like)

    def signal(self, timesteps: Tensor, like: Tensor) -> Tensor:
        """Return ``s_t sqrt(a_t)`` for ``timesteps`` [B], shaped to multiply ``like`` [B, ...]."""
        root = self.alpha(timesteps, like).sqrt()
        return root if self.scale is None else root * _lookup(self.scale, timesteps, like)

    def noised(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return ``x_t`` of ``clean`` [B, ...] and ``noise`` [B, ...] at ``timesteps`` [B]."""
        spread = (1 - self.alpha(timesteps, clean)).sqrt()
        return self.signal(timesteps, clean) * clean + spread * noise

    def target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return what the network should predict [B, ...] for ``noised(clean, noise, timesteps)``."""
        if self.prediction_type == "epsilon":
            return noise
        alpha = self.alpha(timesteps, clean)
        scale = 1 if self.scale is None else _lookup(self.scale, timesteps, clean)
        return alpha.sqrt() * noise - (1 - alpha).sqrt() * scale * clean

    def split(self, prediction: Tensor, latents: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clean latents and the noise, both [B, ...], that ``prediction`` sees in ``latents``.

        Args:
            prediction: output of the network [B, ...].
            latents: its noisy input [B, ...].
            timesteps: [B], int64.
        """
        alpha = self.alpha(timesteps, latents)
        root, spread = alpha.sqrt(), (1 - alpha).sqrt()
        if self.prediction_type == "epsilon":
            noise, clean = prediction, (latents - spread * prediction) / root
        else:
            noise, clean = root * prediction + spread * latents, root * latents - spread * prediction
        return clean if self.scale is None else clean / _lookup(self.scale, timesteps, latents), noise

    def transition(
        self, prediction: Tensor, latents: Tensor, timesteps: Tensor, following: Tensor, eta: float
    ) -> tuple[Tensor, Tensor]:
        """Return mean [B, ...] and standard deviation [B, 1, ...] of one step of DDIM.

        ``mean = s' sqrt(a') x_0 + sqrt(1 - a' - sigma^2) e`` and
        ``sigma = eta sqrt((1 - a') / (1 - a) (1 - a / a'))`` (Song et al. 2021, equations 12 and 16), where
        ``x_0`` and ``e`` are what ``prediction`` sees in ``latents``. Arguments as for ``Schedule``.
        """
        alpha, alpha_following = self.alpha(timesteps, latents), self.alpha(following, latents)
        variance = (1 - alpha_following) / (1 - alpha) * (1 - alpha / alpha_following)
        std = eta * variance.sqrt()
        clean, noise = self.split(prediction, latents, timesteps)
        direction = (1 - alpha_following - std**2).clamp(min=0).sqrt()  # rounding may leave it just below 0
        return self.signal(following, latents) * clean + direction * noise, std


def _lookup(table: Tensor, timesteps: Tensor, like: Tensor) -> Tensor:
    values = table.to(like.device)[timesteps.to(like.device)]
    return values.reshape(-1, *[1] * (like.ndim - 1))
