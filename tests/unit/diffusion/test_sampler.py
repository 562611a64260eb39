from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor, nn

from vader_bench.diffusion.sampler import (
    Noise,
    Sampler,
    draw_noise,
    gaussian_log_prob,
    guided_prediction,
)
from vader_bench.diffusion.schedule import NoiseSchedule
from vader_bench.errors import UserError
from vader_bench.seeding import torch_stream

CONFIG = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}
SHAPE = (2, 3, 2, 4, 4)


class Toy(nn.Module):
    """A denoiser with one weight that also depends on the timestep and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.3))
        self.batches: list[int] = []

    def forward(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        self.batches.append(len(latents))
        shift = (
            timesteps.float()[:, None, None, None, None] / 1000
            + encoded.mean((1, 2))[:, None, None, None, None]
        )
        return torch.tanh(self.weight * latents + shift)


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def sampler(toy: Toy) -> Sampler:
    return Sampler(toy, NoiseSchedule.from_config(CONFIG), steps=5, eta=1.0, guidance=1.0)


START = draw_noise(SHAPE, torch_stream(0, "start"), "cpu")
TEXT = torch.full((2, 1, 1), 0.5)
EMPTY = torch.zeros(1, 1, 1)


def source(name: str = "noise") -> Noise:
    generator = torch_stream(0, name)
    return lambda: draw_noise(SHAPE, generator, "cpu")


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_plain_is_ddim_as_diffusers_does_it(toy: Toy, eta: float, prediction: str) -> None:
    config = CONFIG | {"prediction_type": prediction}
    scheduler = DDIMScheduler(**config)
    scheduler.set_timesteps(10)
    expected, noise = START, source()
    for timestep in scheduler.timesteps:
        with torch.no_grad():
            output = toy(expected, timestep.expand(2), TEXT)
        extra = noise() if eta else None
        expected = scheduler.step(output, int(timestep), expected, eta=eta, variance_noise=extra).prev_sample
    sampler = Sampler(toy, NoiseSchedule.from_config(config), steps=10, eta=eta, guidance=1.0)
    torch.testing.assert_close(sampler.plain(START, TEXT, EMPTY, source()), expected, atol=1e-5, rtol=1e-5)


def test_plain_has_no_graph_and_one_call_a_step(sampler: Sampler, toy: Toy) -> None:
    latents = sampler.plain(START, TEXT, EMPTY, source())
    assert not latents.requires_grad
    assert toy.batches == [2] * 5


def test_noise_is_needed_only_where_the_sampler_has_some(sampler: Sampler) -> None:
    with pytest.raises(ValueError, match="needs a source of noise"):
        sampler.plain(START, TEXT, EMPTY)
    assert torch.isfinite(replace(sampler, eta=0.0).plain(START, TEXT, EMPTY)).all()


def test_the_three_modes_reach_the_same_latents(sampler: Sampler) -> None:
    plain = sampler.plain(START, TEXT, EMPTY, source())
    truncated = sampler.truncated(START, TEXT, EMPTY, source(), last=2)
    path = sampler.with_log_probs(START, TEXT, EMPTY, source())
    assert torch.equal(plain, truncated)
    assert torch.equal(plain, path.states[:, -1])
    assert path.states.shape == (2, 6, *SHAPE[1:])
    assert path.log_probs.shape == (2, 5)


def test_guidance_mixes_both_branches_in_one_call(toy: Toy) -> None:
    timesteps = torch.tensor([7, 500])
    conditional, without = toy(START, timesteps, TEXT), toy(START, timesteps, EMPTY.expand(2, 1, 1))
    toy.batches.clear()
    guided = guided_prediction(toy, START, timesteps, TEXT, EMPTY, 3.0)
    torch.testing.assert_close(guided, without + 3 * (conditional - without))
    assert toy.batches == [4]


def test_without_guidance_the_empty_prompt_is_never_asked_for(toy: Toy) -> None:
    timesteps = torch.tensor([7, 500])
    nothing = torch.full((1, 1, 1), math.nan)
    assert torch.equal(
        guided_prediction(toy, START, timesteps, TEXT, nothing, 1.0), toy(START, timesteps, TEXT)
    )
    assert toy.batches == [2, 2]


def test_both_branches_of_the_guidance_carry_gradient(toy: Toy) -> None:
    text, empty = TEXT.clone().requires_grad_(), EMPTY.clone().requires_grad_()
    guided_prediction(toy, START, torch.tensor([7, 7]), text, empty, 3.0).sum().backward()
    assert text.grad is not None
    assert empty.grad is not None
    assert text.grad.abs().min() > 0
    assert empty.grad.abs().min() > 0


@pytest.mark.parametrize("last", [1, 2, 5])
def test_the_truncated_gradient_is_that_of_a_chain_cut_off_before(
    sampler: Sampler, toy: Toy, last: int
) -> None:
    sampler.truncated(START, TEXT, EMPTY, source(), last=last).sum().backward()
    found = toy.weight.grad
    toy.weight.grad = None
    # the same chain with everything before the last steps replaced by a constant
    states = sampler.with_log_probs(START, TEXT, EMPTY, source()).states
    latents, noise = states[:, 5 - last], _skip(source(), 5 - last)
    for now, following in _steps(sampler, last):
        mean, std = sampler.schedule.transition(toy(latents, now, TEXT), latents, now, following, sampler.eta)
        latents = mean + std * noise()
    latents.sum().backward()
    assert found is not None
    torch.testing.assert_close(found, toy.weight.grad)


def _skip(noise: Noise, steps: int) -> Noise:
    for _ in range(steps):
        noise()
    return noise


def _steps(sampler: Sampler, last: int) -> Iterator[tuple[Tensor, Tensor]]:
    ladder = sampler.schedule.timesteps(sampler.steps)
    following = sampler.schedule.previous(ladder, sampler.steps)
    for i in range(sampler.steps - last, sampler.steps):
        yield ladder[i].expand(2), following[i].expand(2)


def test_what_the_graph_keeps_does_not_grow_with_the_steps_before_it(sampler: Sampler) -> None:
    def kept(steps: int, last: int) -> int:
        total = 0

        def pack(tensor: Tensor) -> Tensor:
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            replace(sampler, steps=steps).truncated(START, TEXT, EMPTY, source(), last=last)
        return total

    assert kept(3, 1) == kept(50, 1) > 0
    assert kept(50, 2) > kept(50, 1)


def test_log_prob_is_the_mean_of_normal_densities() -> None:
    reached, mean = draw_noise((2, *SHAPE), torch_stream(0, "x"), "cpu")
    std = torch.tensor([0.5, 2.0])[:, None, None, None, None]
    expected = torch.distributions.Normal(mean, std).log_prob(reached).mean((1, 2, 3, 4))
    torch.testing.assert_close(gaussian_log_prob(reached, mean, std), expected)


def test_log_probs_of_the_way_are_found_again_from_its_states(sampler: Sampler, toy: Toy) -> None:
    path = sampler.with_log_probs(START, TEXT, EMPTY, source())
    for i, now in enumerate(sampler.schedule.timesteps(sampler.steps)):
        timesteps = now.expand(2)
        with torch.no_grad():
            prediction = toy(path.states[:, i], timesteps, TEXT)
        again = sampler.log_prob(prediction, path.states[:, i], timesteps, path.states[:, i + 1])
        assert torch.equal(again, path.log_probs[:, i])
    assert torch.isfinite(path.log_probs).all()


def test_without_noise_there_is_no_log_probability(sampler: Sampler) -> None:
    with pytest.raises(UserError, match=r"eta = 0.0: gives no log-probability; set eta above 0"):
        replace(sampler, eta=0.0).with_log_probs(START, TEXT, EMPTY, source())


def test_noise_comes_from_its_generator_alone() -> None:
    torch.manual_seed(1)
    first = draw_noise((3,), torch_stream(0, "a"), "cpu")
    torch.manual_seed(2)
    assert torch.equal(first, draw_noise((3,), torch_stream(0, "a"), "cpu"))
