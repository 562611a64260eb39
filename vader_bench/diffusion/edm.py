"""EDM's forward process, in the form that Stable Video Diffusion uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vader_bench.diffusion.schedule import Schedule
from vader_bench.errors import UserError

__all__ = ["EdmSchedule"]

_RHO = 7.0
_LAST_NOISE = 0.02
_NEEDED = {
    "_class_name": "EulerDiscreteScheduler",
    "prediction_type": "v_prediction",
    "timestep_type": "continuous",
    "use_karras_sigmas": True,
    "final_sigmas_type": "zero",
}
_DEFAULTS = {"prediction_type": "epsilon", "timestep_type": "discrete", "use_karras_sigmas": False}
"""What diffusers takes where a file leaves these out; of the others it takes what is needed."""


@dataclass(frozen=True, eq=False)
class EdmSchedule(Schedule):
    """The process ``x = x_0 + sigma e``; timesteps ARE the sigmas, floating, and the way back ends at 0.

    The network predicts ``F = (x_0 - x / (sigma^2 + 1)) / (-sigma / sqrt(sigma^2 + 1))``, which is EDM's
    preconditioning with unit data variance (Karras et al. 2022, table 1) and diffusers' "v_prediction"
    on continuous timesteps. It has unit variance at every sigma, so that errors need no weight.
    """

    smallest: float = 0.002
    largest: float = 700.0
    log_mean: float = 0.7
    """Mean of log sigma while training; that and ``log_std`` as public fine-tuning code of SVD has them."""
    log_std: float = 1.6

    @classmethod
    def from_config(cls, config: Mapping[str, Any], source: str = "scheduler config") -> EdmSchedule:
        """Return the schedule of a diffusers ``EulerDiscreteScheduler`` config.

        Raises:
            UserError: the config asks for arithmetic that this schedule does not have.
        """
        for key, wanted in _NEEDED.items():
            found = config.get(key, _DEFAULTS.get(key, wanted))
            if found != wanted:
                raise UserError(f"{source}: {key} = {found!r}", "is not supported", f"set it to {wanted!r}")
        for key in ("sigma_min", "sigma_max"):
            if not isinstance(config.get(key), int | float):
                raise UserError(f"{source}: {key} = {config.get(key)!r}", "is not a number", "give a number")
        return cls(float(config["sigma_min"]), float(config["sigma_max"]))

    @property
    def start_scale(self) -> float:  # type: ignore[override] # a constant elsewhere
        """Return the spread of noisy latents at the first sigma, unit data variance included."""
        return float((self.largest**2 + 1) ** 0.5)

    def timesteps(self, steps: int) -> Tensor:
        """Return the sigmas [steps] of a sampler, largest first (Karras et al. 2022, equation 5, rho 7).

        Raises:
            UserError: ``steps`` is not positive.
        """
        if steps < 1:
            raise UserError(f"sampler steps = {steps}", "out of range", "choose at least 1")
        ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
        high, low = self.largest ** (1 / _RHO), self.smallest ** (1 / _RHO)
        sigmas: Tensor = (high + ramp * (low - high)) ** _RHO
        return sigmas.float()

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return training sigmas [count], log-normal."""
        sigmas: Tensor = (self.log_mean + self.log_std * torch.randn(count, generator=generator)).exp()
        return sigmas

    def noised(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return ``x`` of ``clean`` [B, ...] and ``noise`` [B, ...] at ``timesteps`` [B]."""
        return clean + _shaped(timesteps, clean) * noise

    def target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return ``F`` [B, ...] for ``noised(clean, noise, timesteps)``."""
        sigma = _shaped(timesteps, clean)
        # F with x_0 + sigma e put in for x: nothing cancels at small sigma
        return (noise - sigma * clean) / (sigma**2 + 1).sqrt()

    def split(self, prediction: Tensor, latents: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clean latents and the noise, both [B, ...], that ``prediction`` sees in ``latents``."""
        sigma = _shaped(timesteps, latents)
        root = (sigma**2 + 1).sqrt()
        clean = latents / root**2 - prediction * sigma / root
        return clean, (latents - clean) / sigma

    def transition(
        self, prediction: Tensor, latents: Tensor, timesteps: Tensor, following: Tensor, eta: float
    ) -> tuple[Tensor, Tensor]:
        """Return mean [B, ...] and standard deviation [B, 1, ...] of one step.

        ``mean = x_0 + sqrt(sigma'^2 - std^2) e`` and ``std = eta sigma' sqrt(1 - sigma'^2 / sigma^2)``: EDM's
        Euler step for eta 0, the ancestral step, which is the posterior, for eta 1. The last step goes to
        sigma' = 0, where the posterior is a point; with eta above 0 it gets a small noise of eta times 0.02
        instead, about what the last step of DDIM has, so that it has a density.
        Arguments as for ``Schedule``.
        """
        clean, noise = self.split(prediction, latents, timesteps)
        sigma, after = _shaped(timesteps, latents), _shaped(following, latents)
        posterior = after * (1 - (after / sigma) ** 2).sqrt()
        std = eta * torch.where(after > 0, posterior, _LAST_NOISE)
        return clean + (after**2 - std**2).clamp(min=0).sqrt() * noise, std


def _shaped(sigmas: Tensor, like: Tensor) -> Tensor:
    return sigmas.to(like.device, like.dtype).reshape(-1, *[1] * (like.ndim - 1))
