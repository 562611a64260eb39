"""Straight paths between noise and data: rectified flow, the process of today's video models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from vader_bench.diffusion.schedule import Schedule
from vader_bench.errors import UserError

__all__ = ["LENGTH", "FlowSchedule", "Sde"]

LENGTH = 1000.0
"""The timestep of pure noise."""

Spacing = Literal["even", "unipc", "euler", "dynamic"]
Sde = Literal["flow-grpo", "dance-grpo"]
"""Whose stochastic equation: Flow-GRPO's (Liu et al. 2025, arXiv:2505.05470; its code has eta 0.7) or
DanceGRPO's (Xue et al. 2025, arXiv:2505.07818; its scripts have eta 0.25 and 0.3)."""

_SHIFTS: dict[str, Callable[[float], float]] = {"exponential": math.exp, "linear": float}
_SPACINGS: dict[str, Spacing] = {
    "FlowMatchEulerDiscreteScheduler": "euler",
    "UniPCMultistepScheduler": "unipc",
}
_UNSUPPORTED = (
    "invert_sigmas",
    "stochastic_sampling",
    "use_beta_sigmas",
    "use_exponential_sigmas",
    "use_karras_sigmas",
)
_NUMBERS = (
    "base_image_seq_len",
    "base_shift",
    "flow_shift",
    "max_image_seq_len",
    "max_shift",
    "num_train_timesteps",
    "shift",
    "shift_terminal",
)


@dataclass(frozen=True, eq=False)
class FlowSchedule(Schedule):
    """The process ``x = (1 - s) x_0 + s e`` with timesteps ``1000 s``, floating, in (0, 1000].

    The network predicts the velocity ``v = e - x_0`` (Liu et al. 2022; Lipman et al. 2022). With eta 0 a
    step is Euler's; with eta above 0 it is a step of a stochastic equation that has the same marginals.
    """

    shift: float = 1.0
    """m in ``s -> m s / (1 + (m - 1) s)``, which spends more of the way near the noise if above 1."""
    spacing: Spacing = "even"
    """Where the S values of s lie before the shift, equally far apart from 1 down: ``even`` to 1 / S;
    ``unipc`` so that one more would be 1 / 1000; ``euler`` to the shifted 1 / 1000; ``dynamic`` to 1 / 1000
    itself. The last three are what diffusers' schedulers do: UniPC's, and Euler's with a shift of its own or
    with one that depends on the size of the videos."""
    terminal: float | None = None
    """The last s of a sampler, to which the others are stretched; none if ``None``."""
    sign: Literal[1, -1] = 1
    """-1 for networks that predict ``x_0 - e``."""
    sde: Sde = "flow-grpo"
    """The equation of steps with noise; they differ in how large the noise is at which s."""

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        source: str = "scheduler config",
        *,
        tokens: int | None = None,
        shift: float | None = None,
        spacing: Spacing | None = None,
    ) -> FlowSchedule:
        """Return the schedule of a diffusers scheduler config.

        Of a ``UniPCMultistepScheduler`` only the timesteps are taken over; a step is still of first order.

        Args:
            config: keys and values of ``scheduler_config.json``.
            source: where the config comes from, for messages.
            tokens: patches of a video, on which ``use_dynamic_shifting`` makes the shift depend.
            shift: in place of the config's own.
            spacing: in place of the scheduler's own.

        Raises:
            UserError: the config asks for arithmetic that this schedule does not have.
        """
        for key in _NUMBERS:
            if isinstance(config.get(key), bool) or not isinstance(config.get(key), int | float | None):
                raise UserError(f"{source}: {key} = {config[key]!r}", "is not a number", "give a number")
        for key in _UNSUPPORTED:
            if config.get(key):
                raise UserError(f"{source}: {key} = true", "is not supported", f"set {key} to false")
        kind = config.get("_class_name", "FlowMatchEulerDiscreteScheduler")
        if not isinstance(kind, str) or kind not in _SPACINGS:
            raise UserError(f"{source}: _class_name = {kind!r}", *_no_flow())
        if kind == "UniPCMultistepScheduler" and not (
            config.get("use_flow_sigmas") and config.get("prediction_type") == "flow_prediction"
        ):
            raise UserError(f"{source}: a scheduler without use_flow_sigmas and flow_prediction", *_no_flow())
        if config.get("num_train_timesteps", LENGTH) != LENGTH:
            raise UserError(
                f"{source}: num_train_timesteps = {config['num_train_timesteps']}",
                "is not supported",
                f"set it to {LENGTH:.0f}",
            )
        dynamic = shift is None and config.get("use_dynamic_shifting")
        own = _shift(config, source, tokens) if shift is None else shift
        usual: Spacing = "dynamic" if dynamic and _SPACINGS[kind] == "euler" else _SPACINGS[kind]
        return cls(own, spacing or usual, config.get("shift_terminal") or None)

    def timesteps(self, steps: int) -> Tensor:
        """Return the timesteps [steps] of a sampler, float32, largest first.

        Raises:
            UserError: ``steps`` is not positive.
        """
        if steps < 1:
            raise UserError(f"sampler steps = {steps}", "out of range", "choose at least 1")
        ends = {"even": 1 / steps, "euler": float(self._shifted(torch.tensor(1 / LENGTH).double()))}
        ends["dynamic"] = 1 / LENGTH
        if self.spacing == "unipc":
            even = torch.linspace(1, 1 / LENGTH, steps + 1, dtype=torch.float64)[:-1]
        else:
            even = torch.linspace(1, ends[self.spacing], steps, dtype=torch.float64)
        shifted = self._shifted(even)
        if self.terminal is not None and steps > 1:
            shifted = 1 - (1 - shifted) * ((1 - self.terminal) / (1 - shifted[-1]))
        return (LENGTH * shifted).float()

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return training timesteps [count], float32: s logit-normal (Esser et al. 2024), then shifted."""
        return LENGTH * self._shifted(torch.randn(count, generator=generator).sigmoid())

    def noised(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return ``x`` of ``clean`` [B, ...] and ``noise`` [B, ...] at ``timesteps`` [B]."""
        spread = _spread(timesteps, clean)
        return (1 - spread) * clean + spread * noise

    def target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:  # noqa: ARG002 - none is needed
        """Return the velocity [B, ...], the same at every timestep."""
        return self.sign * (noise - clean)

    def split(self, prediction: Tensor, latents: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the clean latents and the noise, both [B, ...], that ``prediction`` sees in ``latents``."""
        spread, velocity = _spread(timesteps, latents), self.sign * prediction
        return latents - spread * velocity, latents + (1 - spread) * velocity

    def transition(
        self, prediction: Tensor, latents: Tensor, timesteps: Tensor, following: Tensor, eta: float
    ) -> tuple[Tensor, Tensor]:
        """Return mean [B, ...] and standard deviation [B, 1, ...] of one step.

        ``mean = (1 - s') x_0 + (s' - std^2 / (2 s)) e``, where ``x_0`` and ``e`` are what ``prediction`` sees
        in ``latents``: the step of both equations, written out. In DanceGRPO's (``flux_step`` of its code)
        ``std`` is ``eta sqrt(s - s')``, and in Flow-GRPO's that times ``sqrt(s / (1 - s))``, where s = 1 is
        replaced by s' in 1 - s alone, as in its code (``sde_step_with_logprob``), by which the first step has
        the standard deviation eta. The last step keeps its noise, so that it has a density. Arguments as for
        ``Schedule``.
        """
        clean, noise = self.split(prediction, latents, timesteps)
        now, after = _spread(timesteps, latents), _spread(following, latents)
        variance = now - after
        if self.sde == "flow-grpo":
            variance = now / (1 - torch.where(now < 1, now, after)) * variance
        std = eta * variance.sqrt()
        return (1 - after) * clean + (after - std**2 / (2 * now)) * noise, std

    def _shifted(self, spread: Tensor) -> Tensor:
        return self.shift * spread / (1 + (self.shift - 1) * spread)


def _shift(config: Mapping[str, Any], source: str, tokens: int | None) -> float:
    """Return the shift that ``config`` asks for, for videos of ``tokens`` patches."""
    if not config.get("use_dynamic_shifting"):
        return _number(config, "flow_shift", _number(config, "shift", 1.0))
    kind = config.get("time_shift_type", "exponential")
    if tokens is None or not isinstance(kind, str) or kind not in _SHIFTS:
        raise UserError(
            f"{source}: use_dynamic_shifting = true with time_shift_type = {kind!r}",
            "is not supported here",
            "set use_dynamic_shifting to false",
        )
    few, many = _number(config, "base_image_seq_len", 256), _number(config, "max_image_seq_len", 4096)
    low, high = _number(config, "base_shift", 0.5), _number(config, "max_shift", 1.15)
    if few == many:
        given = f"{source}: base_image_seq_len = max_image_seq_len = {few:g}"
        raise UserError(given, "gives no shift between them", "give two numbers")
    return _SHIFTS[kind](low + (high - low) * (tokens - few) / (many - few))


def _number(config: Mapping[str, Any], key: str, default: float) -> float:
    """Return the number ``key``, which is one if it is there; ``null`` is none."""
    value = config.get(key)
    return default if value is None else float(value)


def _no_flow() -> tuple[str, str]:
    return "is not one of a flow model", f"use one of: {', '.join(_SPACINGS)}"


def _spread(timesteps: Tensor, like: Tensor) -> Tensor:
    """Return s for ``timesteps`` [B], shaped to multiply ``like`` [B, ...]."""
    return (timesteps.to(like.device, like.dtype) / LENGTH).reshape(-1, *[1] * (like.ndim - 1))
