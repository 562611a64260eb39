"""EDM's schedule against diffusers' Euler sampler and against what follows from its definition."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from torch import Tensor

from vader_bench.diffusion.edm import EdmSchedule
from vader_bench.diffusion.sampler import Sampler
from vader_bench.errors import UserError

CONFIG: dict[str, Any] = {
    "sigma_min": 0.002,
    "sigma_max": 700.0,
    "prediction_type": "v_prediction",
    "timestep_type": "continuous",
    "use_karras_sigmas": True,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "timestep_spacing": "leading",
    "steps_offset": 1,
}
SCHEDULE = EdmSchedule.from_config(CONFIG)
EMPTY = torch.zeros(1, 1, 1)

theirs_warn = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""diffusers' scheduler turns a tensor into an array in a way that NumPy 2 frowns on."""


def noise(seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, 4, 3, 5, 5, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@theirs_warn
@pytest.mark.parametrize("steps", [1, 7, 25])
def test_the_ladder_is_that_of_diffusers(steps: int) -> None:
    theirs = EulerDiscreteScheduler(**CONFIG)
    theirs.set_timesteps(steps)
    torch.testing.assert_close(SCHEDULE.timesteps(steps), theirs.sigmas[:-1], rtol=1e-6, atol=0)
    assert SCHEDULE.start_scale == pytest.approx(float(theirs.init_noise_sigma))


@theirs_warn
def test_a_whole_way_is_that_of_diffusers() -> None:
    def network(latents: Tensor, sigma: Tensor, _: Tensor) -> Tensor:
        return torch.sin(latents / (sigma.reshape(-1, 1, 1, 1, 1) ** 2 + 1).sqrt())

    start = noise(0)
    ours = Sampler(network, SCHEDULE, steps=8, eta=0.0, guidance=1.0).plain(start, EMPTY, EMPTY)
    theirs = EulerDiscreteScheduler(**CONFIG)
    theirs.set_timesteps(8)
    latents = start * theirs.init_noise_sigma
    for timestep, sigma in zip(theirs.timesteps, theirs.sigmas, strict=False):
        theirs.scale_model_input(latents, timestep)
        latents = theirs.step(network(latents, sigma.expand(2), EMPTY), timestep, latents, return_dict=False)[
            0
        ]
    torch.testing.assert_close(ours, latents, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.002, 0.5, 3.0, 700.0])
def test_the_target_is_split_into_what_it_was_made_of(sigma: float) -> None:
    clean, drawn, sigmas = noise(1, torch.float64), noise(2, torch.float64), torch.full((2,), sigma).double()
    noisy = SCHEDULE.noised(clean, drawn, sigmas)
    found = SCHEDULE.split(SCHEDULE.target(clean, drawn, sigmas), noisy, sigmas)
    torch.testing.assert_close(found[0], clean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found[1], drawn, rtol=1e-6, atol=1e-6)


def test_the_target_has_unit_variance_at_every_sigma() -> None:
    clean, drawn = torch.randn(2, 1, 200_000, generator=torch.Generator().manual_seed(3)).unbind(0)
    for sigma in (0.01, 1.0, 100.0):
        assert SCHEDULE.target(clean, drawn, torch.tensor([sigma])).var().item() == pytest.approx(1, abs=0.02)


def test_the_ancestral_step_keeps_the_spread_that_belongs_to_the_sigma() -> None:
    now, after = torch.tensor([3.0, 3.0]), torch.tensor([1.0, 2.0])
    clean, drawn = noise(4), noise(5)
    prediction = SCHEDULE.target(clean, drawn, now)
    mean, std = SCHEDULE.transition(prediction, SCHEDULE.noised(clean, drawn, now), now, after, eta=1.0)
    kept = ((mean - clean) / drawn).flatten(1).median(1).values
    torch.testing.assert_close(kept**2 + std.flatten() ** 2, after**2, rtol=1e-3, atol=1e-3)
    # the posterior of x' given x and x_0 has variance s'^2 (s^2 - s'^2) / s^2
    torch.testing.assert_close(std.flatten() ** 2, after**2 * (9 - after**2) / 9)


def test_the_last_step_has_a_density_only_where_noise_is_wanted() -> None:
    sigma, zero = torch.full((2,), 0.002), torch.zeros(2)
    for eta, wanted in ((0.0, 0.0), (0.5, 0.01), (1.0, 0.02)):
        mean, std = SCHEDULE.transition(noise(6), noise(7), sigma, zero, eta)
        assert std.flatten().tolist() == pytest.approx([wanted] * 2)
        torch.testing.assert_close(mean, SCHEDULE.split(noise(6), noise(7), sigma)[0])


def test_training_sigmas_are_log_normal_and_follow_their_generator() -> None:
    drawn = SCHEDULE.draw(20_000, torch.Generator().manual_seed(8))
    assert drawn.log().mean().item() == pytest.approx(0.7, abs=0.05)
    assert drawn.log().std().item() == pytest.approx(1.6, abs=0.05)
    assert torch.equal(drawn, SCHEDULE.draw(20_000, torch.Generator().manual_seed(8)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prediction_type", "epsilon"),
        ("timestep_type", "discrete"),
        ("use_karras_sigmas", False),
        ("_class_name", "DDIMScheduler"),
    ],
)
def test_other_arithmetic_is_refused(key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"file.json: {key} = "):
        EdmSchedule.from_config(CONFIG | {key: value}, "file.json")


@pytest.mark.parametrize("key", ["prediction_type", "timestep_type", "use_karras_sigmas"])
def test_a_file_that_lacks_a_key_has_the_default_of_diffusers(key: str) -> None:
    lacking = {name: value for name, value in CONFIG.items() if name != key}
    default = EulerDiscreteScheduler().config[key]
    with pytest.raises(UserError, match=f"file.json: {key} = {default!r}: is not supported"):
        EdmSchedule.from_config(lacking, "file.json")


def test_no_step_is_no_ladder() -> None:
    with pytest.raises(UserError, match="sampler steps = 0"):
        SCHEDULE.timesteps(0)
