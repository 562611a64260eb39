"""The sampler against DDPO's step with log-probability and VADER's truncated gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.support.golden import Golden, golden
from vader_bench.diffusion.flow import FlowSchedule
from vader_bench.diffusion.sampler import Sampler, gaussian_log_prob
from vader_bench.diffusion.schedule import NoiseSchedule
from vader_bench.errors import UserError

STEPS = [
    f"ddpo_step_{prediction}_{size}" for prediction in ("epsilon", "v_prediction") for size in ("4d", "5d")
]


def transition(case: Golden, schedule: NoiseSchedule, prediction: Tensor) -> tuple[Tensor, Tensor]:
    now = case.inputs["timestep"]
    following = schedule.previous(now, case.config["num_inference_steps"])
    return schedule.transition(prediction, case.inputs["sample"], now, following, case.config["eta"])


@pytest.mark.parametrize("name", STEPS)
def test_step_with_log_probability(name: str) -> None:
    case = golden(name)
    schedule = NoiseSchedule.from_config(case.config)
    torch.testing.assert_close(schedule.alphas_cumprod, case.inputs["alphas_cumprod"], rtol=0, atol=1e-7)
    mean, std = transition(case, schedule, case.inputs["model_output"])
    sample = mean + std * case.inputs["noise"]
    log_prob = gaussian_log_prob(sample, mean, std)
    case.check("mean", mean)
    case.check("std", std)
    for origin in ("", "trl/"):
        case.check(f"{origin}prev_sample", sample)
        case.check(f"{origin}log_prob", log_prob)


@pytest.mark.parametrize("name", STEPS)
def test_log_probability_of_a_given_step_and_its_gradient(name: str) -> None:
    case = golden(name)
    schedule = NoiseSchedule.from_config(case.config)
    sampler = Sampler(_no_denoiser, schedule, case.config["num_inference_steps"], case.config["eta"], 1.0)
    prediction = case.inputs["model_output"].requires_grad_()
    log_prob = sampler.log_prob(
        prediction, case.inputs["sample"], case.inputs["timestep"], case.inputs["next_sample"]
    )
    (gradient,) = torch.autograd.grad(log_prob.sum(), prediction)
    case.check("log_prob_of_next_sample", log_prob)
    case.check("trl/log_prob_of_next_sample", log_prob)
    case.check("grad_model_output", gradient)


@pytest.mark.parametrize("name", [f"grpo_sde_step_{number}" for number in range(7)])
def test_every_step_of_the_flow_sde_is_flow_grpos(name: str) -> None:
    """With 1, 2, 8, 10 and 50 steps, the first and the last among them, and shifts of 1 and 3."""
    case = golden(name)
    steps, eta = case.config["steps"], case.config["noise_level"]
    schedule = FlowSchedule(case.config["shift"], "euler")
    ladder = torch.cat([schedule.timesteps(steps), torch.zeros(1)])
    case.check("sigmas", ladder / 1000)
    for index in range(steps):
        latents, reached = case.inputs[f"latents_{index}"], case.inputs[f"reached_{index}"]
        now, after = (ladder[place].expand(2) for place in (index, index + 1))
        mean, std = schedule.transition(case.inputs[f"velocity_{index}"], latents, now, after, eta)
        case.check(f"mean_{index}", mean)
        assert std.shape == (2, 1, 1, 1)
        case.check(f"std_{index}", std)
        case.check(f"log_prob_{index}", gaussian_log_prob(reached, mean, std))


@pytest.mark.parametrize("name", [f"dance_sde_step_{number}" for number in range(4)])
def test_every_step_of_the_flow_sde_is_dance_grpos(name: str) -> None:
    """With 1, 8, 16 and 20 steps, the first and the last among them, and the shifts of its scripts."""
    case = golden(name)
    steps, eta = case.config["steps"], case.config["eta"]
    schedule = FlowSchedule(case.config["shift"], sde="dance-grpo")
    sampler = Sampler(_no_denoiser, schedule, steps, eta, 1.0)
    ladder = torch.cat([schedule.timesteps(steps), torch.zeros(1)])
    case.check("sigmas", ladder / 1000)
    for index in range(steps):
        latents, reached = case.inputs[f"latents_{index}"], case.inputs[f"reached_{index}"]
        now, after = (ladder[place].expand(2) for place in (index, index + 1))
        velocity = case.inputs[f"velocity_{index}"].requires_grad_()
        mean, _ = schedule.transition(velocity, latents, now, after, eta)
        case.check(f"mean_{index}", mean)
        log_prob = sampler.log_prob(velocity, latents, now, reached)
        case.check(f"log_prob_{index}", log_prob)
        (gradient,) = torch.autograd.grad(log_prob.sum(), velocity)
        case.check(f"grad_velocity_{index}", gradient)


def test_a_chain_that_reaches_timestep_0_is_refused() -> None:
    case = golden("ddpo_step_timestep0_nonfinite")
    assert not torch.isfinite(case.outputs["log_prob_nonfinite"]).any()
    schedule = NoiseSchedule.from_config(case.config)
    with pytest.raises(UserError, match="uses timesteps 0 to 980; choose steps and steps_offset"):
        schedule.timesteps(case.config["num_inference_steps"])


@pytest.mark.parametrize("name", ["truncated_ddim_0", "truncated_ddim_1"])
@pytest.mark.parametrize("last", [1, 2, 5])
def test_truncated_gradient(name: str, last: int) -> None:
    case = golden(name)
    schedule = _videocrafter_schedule(case.config["scale_b"])
    base, low, high = case.inputs["base"], case.inputs["lora_A"], case.inputs["lora_B"]
    low.requires_grad_()
    high.requires_grad_()

    def denoise(latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        mixed = latents + torch.einsum("dc,bc...->bd...", base + high @ low, latents)
        spread = (1 - schedule.alpha(timesteps, latents)).sqrt()
        return spread * mixed + encoded[:, 0, :, None, None, None]

    sampler = Sampler(
        denoise, schedule, case.config["ddim_steps"], case.config["eta"], case.config["guidance_scale"]
    )
    noise = iter(case.inputs["noise"])
    condition, unconditional = case.inputs["cond"][:, None], case.inputs["uncond"][:, None]
    clean = sampler.truncated(case.inputs["x_T"], condition, unconditional, lambda: next(noise), last=last)
    reward = -(clean - case.inputs["target"]).square().mean()
    (-reward).backward()
    case.check("x_0", clean)
    case.check("reward", reward)
    assert low.grad is not None
    assert high.grad is not None
    case.check(f"K{last}/grad_lora_A", low.grad)
    case.check(f"K{last}/grad_lora_B", high.grad)


def _videocrafter_schedule(smallest: float) -> NoiseSchedule:
    """VideoCrafter's schedule: signal scaled from 1 to ``smallest`` over 400 timesteps, then constant."""
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    plain = NoiseSchedule.from_config(config)
    scale = torch.cat([torch.linspace(1, smallest, 400), torch.full((600,), smallest)])
    return NoiseSchedule(plain.alphas_cumprod, "epsilon", "leading", 1, scale)


def _no_denoiser(latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
    raise AssertionError("not called")
