from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from vader_bench.diffusion.schedule import NoiseSchedule, Prediction
from vader_bench.errors import UserError

CONFIG: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
SHRINKING = torch.linspace(1, 0.7, 1000)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("steps", [1, 2, 5, 12, 25, 30, 50])
def test_timesteps_are_those_of_diffusers(spacing: str, steps: int) -> None:
    config = CONFIG | {"timestep_spacing": spacing}
    theirs = DDIMScheduler(**config)
    theirs.set_timesteps(steps)
    ours = NoiseSchedule.from_config(config)
    assert ours.timesteps(steps).tolist() == theirs.timesteps.tolist()
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)


def test_a_config_without_spacing_has_the_default_of_diffusers() -> None:
    assert NoiseSchedule.from_config(CONFIG).timesteps(4).tolist() == [751, 501, 251, 1]


def test_the_way_back_visits_every_timestep_once_and_ends_at_0() -> None:
    schedule = NoiseSchedule.from_config(CONFIG | {"timestep_spacing": "trailing"})
    ladder = schedule.timesteps(12)
    assert schedule.previous(ladder, 12).tolist() == [*ladder[1:].tolist(), 0]
    assert schedule.previous(ladder[[3, 0, 11]], 12).tolist() == [ladder[4], ladder[1], 0]


def test_previous_of_a_foreign_timestep_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"timesteps \[999, 998\] are not all among"):
        NoiseSchedule.from_config(CONFIG | {"timestep_spacing": "trailing"}).previous(
            torch.tensor([999, 998]), 4
        )


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_numbers_of_steps_are_refused(steps: int) -> None:
    with pytest.raises(UserError, match="choose 1 to 1000"):
        NoiseSchedule.from_config(CONFIG).timesteps(steps)


@pytest.mark.parametrize(("offset", "first", "last"), [(0, 0, 750), (250, 250, 1000)])
def test_steps_outside_the_noisy_timesteps_are_refused(offset: int, first: int, last: int) -> None:
    with pytest.raises(UserError, match=f"uses timesteps {first} to {last}"):
        NoiseSchedule.from_config(CONFIG | {"steps_offset": offset}).timesteps(4)


@pytest.mark.parametrize("key", ["clip_sample", "thresholding", "set_alpha_to_one"])
def test_arithmetic_that_the_sampler_lacks_is_refused(key: str) -> None:
    with pytest.raises(UserError, match=f"file.json: {key} = true: is not supported; set {key} to false"):
        NoiseSchedule.from_config(CONFIG | {key: True}, "file.json")


@pytest.mark.parametrize("key", ["clip_sample", "set_alpha_to_one"])
def test_a_file_that_lacks_a_key_has_the_default_of_diffusers(key: str) -> None:
    partial = {"_class_name": "DDIMScheduler"} | CONFIG
    assert (
        getattr(DDIMScheduler(**{name: CONFIG[name] for name in CONFIG if name != key}).config, key) is True
    )
    del partial[key]
    with pytest.raises(UserError, match=f"{key} = true: is not supported"):
        NoiseSchedule.from_config(partial)


def test_defaults_are_those_of_the_class_that_the_file_names() -> None:
    plain = {key: value for key, value in CONFIG.items() if key not in {"clip_sample", "set_alpha_to_one"}}
    found = NoiseSchedule.from_config({"_class_name": "PNDMScheduler"} | plain)  # has neither by default
    assert torch.equal(found.alphas_cumprod, NoiseSchedule.from_config(CONFIG).alphas_cumprod)
    with pytest.raises(UserError, match="timestep_spacing = 'linspace': is not supported"):
        NoiseSchedule.from_config({"_class_name": "EulerDiscreteScheduler"} | plain)


@pytest.mark.parametrize("kind", ["FlowMatchEulerDiscreteScheduler", "UNet3DConditionModel", "None", 3])
def test_a_scheduler_of_no_model_trained_by_betas_is_refused(kind: object) -> None:
    told = f"file.json: _class_name = {kind!r}: is not supported; use one of: DDIMScheduler, "
    with pytest.raises(UserError, match=told):
        NoiseSchedule.from_config({"_class_name": kind, "shift": 3.0}, "file.json")


def test_noise_without_a_trace_of_data_is_predicted_by_no_epsilon() -> None:
    zero = CONFIG | {"rescale_betas_zero_snr": True}
    with pytest.raises(UserError, match="rescale_betas_zero_snr = true with prediction_type = 'epsilon'"):
        NoiseSchedule.from_config(zero)
    found = NoiseSchedule.from_config(zero | {"prediction_type": "v_prediction"})
    assert found.alphas_cumprod[-1] < 1e-6


def test_trailing_timesteps_are_those_of_diffusers_for_every_number_of_steps() -> None:
    config = CONFIG | {"timestep_spacing": "trailing"}
    theirs, ours = DDIMScheduler(**config), NoiseSchedule.from_config(config)
    longer = 0
    for steps in range(1, 667):  # from there on the last one is 0
        theirs.set_timesteps(steps)
        wanted = theirs.timesteps.tolist()
        longer += len(wanted) > steps
        assert ours.timesteps(steps).tolist() == wanted[:steps]
        assert wanted[steps:] in ([], [-1])
    assert longer == 29


@pytest.mark.parametrize(
    ("key", "value", "known"),
    [
        ("prediction_type", "sample", "epsilon, v_prediction"),
        ("timestep_spacing", "linspace", "leading, trailing"),
    ],
)
def test_an_unknown_kind_names_the_known_ones(key: str, value: str, known: str) -> None:
    with pytest.raises(UserError, match=f"{key} = '{value}': is not supported; use one of: {known}"):
        NoiseSchedule.from_config(CONFIG | {key: value})


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("scale", [None, SHRINKING])
def test_a_perfect_prediction_splits_latents_into_what_they_were_made_of(
    prediction_type: Prediction, scale: torch.Tensor | None
) -> None:
    alphas = NoiseSchedule.from_config(CONFIG).alphas_cumprod.double()
    schedule = NoiseSchedule(alphas, prediction_type, scale=None if scale is None else scale.double())
    clean, noise = torch.randn(2, 4, 3, 2, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    timesteps = torch.tensor([1, 300, 700, 999])
    noisy = schedule.noised(clean, noise, timesteps)
    found = schedule.split(schedule.target(clean, noise, timesteps), noisy, timesteps)
    torch.testing.assert_close(found, (clean, noise))


def test_noised_and_target_are_those_of_diffusers() -> None:
    config = CONFIG | {"prediction_type": "v_prediction"}
    theirs, ours = DDIMScheduler(**config), NoiseSchedule.from_config(config)
    clean, noise = torch.randn(2, 3, 4, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([0, 500, 999])
    torch.testing.assert_close(
        ours.noised(clean, noise, timesteps), theirs.add_noise(clean, noise, timesteps)
    )
    torch.testing.assert_close(
        ours.target(clean, noise, timesteps), theirs.get_velocity(clean, noise, timesteps)
    )
