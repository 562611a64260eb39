"""Where the timesteps of a sampler lie, by a scheduler's configuration; no network and no torch is needed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np

from vader_bench.errors import UserError

__all__ = ["BETA_KEYS", "Ladder", "Spacing", "choice", "with_defaults"]

Spacing = Literal["leading", "trailing"]
_Kind = Literal[
    "DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LMSDiscreteScheduler", "PNDMScheduler",
    "UniPCMultistepScheduler",
]  # fmt: skip
"""Classes of diffusers that sample from models trained by betas, and say where their timesteps lie."""

BETA_KEYS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)
"""Keys that the noise of each timestep follows from."""
_UNSUPPORTED = ("clip_sample", "thresholding", "set_alpha_to_one")
_KEYS = {*BETA_KEYS, *_UNSUPPORTED, "prediction_type", "timestep_spacing", "steps_offset"}


class Ladder(NamedTuple):
    """The timesteps of samplers among the T that a model was trained on."""

    length: int
    """T."""
    spacing: Spacing
    """Where S of the T timesteps lie: Lin et al. 2023, table 2."""
    offset: int
    """First timestep under ``leading``."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], source: str) -> Ladder:
        """Return the ladder of a diffusers scheduler config.

        Args:
            config: keys and values of ``scheduler_config.json``.
            source: where the config comes from, for messages.

        Raises:
            UserError: the config asks for arithmetic that the sampler does not have.
        """
        config = with_defaults(config, source)
        for key in _UNSUPPORTED:
            if config.get(key):
                raise UserError(f"{source}: {key} = true", "is not supported", f"set {key} to false")
        spacing = choice(source, "timestep_spacing", config.get("timestep_spacing", "leading"), Spacing)
        betas = config.get("trained_betas")
        try:
            length = int(config.get("num_train_timesteps", 1000)) if betas is None else len(betas)
            return cls(length, cast("Spacing", spacing), int(config.get("steps_offset", 0)))
        except (TypeError, ValueError) as error:
            remedy = "give the scheduler that the model was trained with"
            raise UserError(
                source, f"describes no schedule ({str(error).splitlines()[0]})", remedy
            ) from error

    def timesteps(self, steps: int) -> list[int]:
        """Return the timesteps of a sampler of so many ``steps``, largest first; see ``NoiseSchedule``.

        Raises:
            UserError: there are fewer timesteps than ``steps``, or the last one is 0, where no noise
                is left to remove.
        """
        if not 1 <= steps <= self.length:
            raise UserError(f"sampler steps = {steps}", "out of range", f"choose 1 to {self.length}")
        if self.spacing == "leading":
            ascending = [i * (self.length // steps) + self.offset for i in range(steps)]
        else:
            places = np.arange(self.length, 0, -self.length / steps)[:steps]
            ascending = sorted(int(place) - 1 for place in np.round(places))
        if not (ascending[0] >= 1 and ascending[-1] < self.length):
            raise UserError(
                f"sampler steps = {steps} with {self.spacing} spacing and offset {self.offset}",
                f"uses timesteps {ascending[0]} to {ascending[-1]}",
                f"choose steps and steps_offset so that they stay in 1 to {self.length - 1}",
            )
        return ascending[::-1]


def with_defaults(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return ``config`` with what diffusers takes for keys that it lacks, by the scheduler that it names.

    Files of old versions lack keys that came later, and a default may ask for other arithmetic. What names no
    class is no file of diffusers.

    Raises:
        UserError: the scheduler is not one of a model that was trained by betas.
    """
    if "_class_name" not in config:
        return dict(config)
    kind = choice(source, "_class_name", config["_class_name"], _Kind)
    lacking = _KEYS - config.keys()
    if not lacking:
        return dict(config)
    import diffusers  # late: it takes seconds to import, and whole files need none of it

    parameters = inspect.signature(getattr(diffusers, kind).__init__).parameters
    return {key: parameters[key].default for key in lacking & parameters.keys()} | dict(config)


def choice(source: str, key: str, value: object, choices: Any) -> str:
    """Return the text ``value`` of ``key``, which must be one of the literals ``choices``.

    Raises:
        UserError: it is something else.
    """
    known = get_args(choices)
    if value not in known:
        raise UserError(f"{source}: {key} = {value!r}", "is not supported", f"use one of: {', '.join(known)}")
    return str(value)
