"""VideoCrafter2's networks, schedule and sampler against what the original code computed."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.support.golden import LARGE, Golden, golden
from vader_bench.backbones.videocrafter2 import FirstStageConfig, make_first_stage, videocrafter2_schedule
from vader_bench.backbones.videocrafter2_keys import denoiser_origin, first_stage_origin, load_into
from vader_bench.backbones.videocrafter2_unet import UNetConfig, VideoCrafter2UNet
from vader_bench.diffusion.sampler import Sampler, guided_prediction
from vader_bench.diffusion.schedule import NoiseSchedule

NETWORKS = ["vc2_unet_tiny_0", "vc2_unet_tiny_1"]
SCHEDULES = [f"vc_ddim_schedule_{name}" for name in ("25_eta0p0", "25_eta1p0", "30_eta1p0", "50_eta1p0")]
CHOICES = {
    "out_channels": 4,
    "transformer_depth": 1,
    "use_linear": True,
    "temporal_conv": True,
    "temporal_attention": True,
    "temporal_selfatt_only": True,
    "use_relative_position": False,
    "use_causal_attention": False,
    "addition_attention": True,
}
"""What VideoCrafter's code can vary and our network, like the released one, does not."""


def weights(name: str) -> dict[str, Tensor]:
    tensors = load_file(LARGE / f"{name}.safetensors")
    return {k.removeprefix("weights/"): v for k, v in tensors.items() if k.startswith("weights/")}


def denoiser(name: str, *, checkpointing: bool = False) -> tuple[Golden, VideoCrafter2UNet]:
    case = golden(name)
    assert {key: case.config[key] for key in CHOICES} == CHOICES
    sizes = {key: value for key, value in case.config.items() if key in UNetConfig.model_fields}
    network = VideoCrafter2UNet(UNetConfig.model_validate(sizes), checkpointing=checkpointing).eval()
    load_into([(network, denoiser_origin)], weights(name), name)
    return case, network


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_the_denoiser_at_several_timesteps_and_frame_rates(name: str) -> None:
    case, network = denoiser(name)
    x, context = case.inputs["x"], case.inputs["context"]
    for call in case.config["calls"]:
        timesteps, fps = (torch.full((2,), call[key]) for key in ("timestep", "fps"))
        case.check(call["output"], network(x, timesteps, context, fps))
    case.check("y_mixed", network(x, case.inputs["mixed_timesteps"], context, case.inputs["mixed_fps"]))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradients_of_the_denoiser(name: str, checkpointing: bool) -> None:
    case, network = denoiser(name, checkpointing=checkpointing)
    x = case.inputs["x"].requires_grad_()
    call = case.config["calls"][0]
    timesteps, fps = (torch.full((2,), call[key]) for key in ("timestep", "fps"))
    output = network(x, timesteps, case.inputs["context"], fps)
    (output * case.inputs["grad_probe"]).sum().backward()
    assert x.grad is not None
    case.check("grad_x", x.grad)
    names = [key.removeprefix("grad/") for key in case.outputs if key.startswith("grad/")]
    assert len(names) >= 2
    for key in names:
        gradient = network.get_parameter(key).grad
        assert gradient is not None
        case.check(f"grad/{key}", gradient)


@torch.no_grad()
def test_the_first_stage() -> None:
    case = golden("vc_vae_tiny")
    sizes = {
        key: value for key, value in case.config["ddconfig"].items() if key in FirstStageConfig.model_fields
    }
    config = FirstStageConfig.model_validate(sizes)
    network = make_first_stage(config).eval()
    origin = partial(first_stage_origin, levels=len(config.ch_mult))
    load_into([(network, origin)], weights("vc_vae_tiny"), "vc_vae_tiny")
    z = case.inputs["z"]
    assert network.config["scaling_factor"] == case.config["scale_factor"]
    pictures = network.decode(z.transpose(1, 2).flatten(0, 1) / case.config["scale_factor"]).sample
    case.check("decoded", pictures.unflatten(0, (2, -1)).transpose(1, 2))
    posterior = network.encode(case.inputs["x"]).latent_dist
    case.check("mean", posterior.mean)
    case.check("logvar", posterior.logvar)
    noise, timesteps = case.inputs["q_sample_noise"], case.inputs["q_sample_t"]
    case.check("q_sample", videocrafter2_schedule().noised(z, noise, timesteps))


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_schedule_over_the_training_timesteps(name: str) -> None:
    case, schedule = golden(name), videocrafter2_schedule()
    case.check("alphas_cumprod", schedule.alphas_cumprod)
    assert schedule.scale is not None
    table = case.outputs["scale_arr"]
    assert len(table) == 1400  # linspace over 400, then a constant over 1000: the last 400 are never read
    torch.testing.assert_close(schedule.scale, table[:1000], atol=1e-6, rtol=1e-5)
    assert schedule.length == len(case.outputs["betas"]) == case.config["num_ddpm_timesteps"]


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_schedule_of_a_sampler(name: str) -> None:
    """Ours has the steps it was asked for.

    The original takes every (1000 // S)-th timestep as long as there are any: 31 for S = 30, of which ours
    are the lower 30, so that all values but those of its first step coincide.
    """
    case, schedule = golden(name), videocrafter2_schedule()
    asked, got = case.config["ddim_steps_requested"], case.config["ddim_steps_obtained"]
    now = schedule.timesteps(asked)
    following = schedule.previous(now, asked)
    assert len(now) == asked
    assert got == (31 if asked == 30 else asked)
    ones = torch.ones(asked)
    _, std = schedule.transition(ones, ones, now, following, case.config["eta"])
    alpha = schedule.alpha(now, ones)
    values = {
        "ddim_timesteps": now,
        "ddim_alphas": alpha,
        "ddim_alphas_prev": schedule.alpha(following, ones),
        "ddim_sqrt_one_minus_alphas": (1 - alpha).sqrt(),
        "ddim_sigmas": std,
        "ddim_scale_arr": schedule.signal(now, ones) / alpha.sqrt(),
        "ddim_scale_arr_prev": schedule.signal(following, ones) / schedule.alpha(following, ones).sqrt(),
    }
    for key, value in values.items():
        expected = case.outputs[key][:asked].flip(0)
        torch.testing.assert_close(value.to(expected.dtype), expected, atol=1e-6, rtol=1e-5, msg=key)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("guidance", [1.0, 12.0])
def test_one_step(scaled: bool, guidance: float) -> None:
    case = golden(f"vc_ddim_step_{'scale' if scaled else 'noscale'}")
    schedule = videocrafter2_schedule() if scaled else without_scale(videocrafter2_schedule())
    suffix = "" if guidance == 1 else "_cfg12"
    assert case.config["use_scale"] is scaled
    for step in case.config["steps"]:
        key = step["key"]
        x, eps, uncond, noise = (case.inputs[f"{key}/{part}"] for part in ("x", "eps", "eps_uncond", "noise"))
        now = torch.full((len(x),), step["timestep"])
        following = schedule.previous(now, case.config["ddim_steps"])
        blank = torch.zeros(len(x), 1, 1)
        given = partial(both_given, torch.cat([uncond, eps]))
        prediction = guided_prediction(given, x, now, blank, blank, guidance)
        mean, std = schedule.transition(prediction, x, now, following, case.config["eta"])
        case.check(f"{key}/x_prev{suffix}", mean + std * noise)
        case.check(f"{key}/pred_x0{suffix}", schedule.split(prediction, x, now)[0])


@pytest.mark.parametrize("steps", [5, 25])
def test_a_whole_run(steps: int) -> None:
    case, schedule = golden(f"vc_ddim_run_{steps}"), videocrafter2_schedule()
    mix, bias = case.inputs["W"], case.inputs["bias"]
    scale_b = case.config["scale_b"]
    assert schedule.scale is not None
    assert math.isclose(float(schedule.scale[-1]), scale_b, rel_tol=1e-6)

    def denoise(latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        spread = (1 - schedule.alpha(timesteps, latents)).sqrt()
        mixed = latents + torch.einsum("dc,bc...->bd...", mix, latents)
        shift = bias * timesteps[:, None] / 1000 + encoded[:, 0]
        return spread * mixed + shift[:, :, None, None, None]

    sampler = Sampler(denoise, schedule, steps, case.config["eta"], case.config["guidance_scale"])
    noise = iter(case.inputs["noise"])
    condition, unconditional = case.inputs["cond"][:, None], case.inputs["uncond"][:, None]
    case.check("x_0", sampler.plain(case.inputs["x_T"], condition, unconditional, lambda: next(noise)))
    assert next(noise, None) is None


def both_given(predictions: Tensor, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
    """Stand in for a denoiser: what is given, the unconditional half left out where it is not asked for."""
    return predictions[-len(latents) :]


def without_scale(schedule: NoiseSchedule) -> NoiseSchedule:
    return NoiseSchedule(schedule.alphas_cumprod, "epsilon", schedule.spacing, schedule.offset)
