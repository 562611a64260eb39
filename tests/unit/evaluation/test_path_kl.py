"""How far a trained sampler's paths are from the base model's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from vader_bench.diffusion.lora import Lora
from vader_bench.diffusion.sampler import Sampler
from vader_bench.diffusion.schedule import NoiseSchedule
from vader_bench.errors import UserError
from vader_bench.evaluation.path_kl import path_kl

SHAPE = (2, 3, 1, 1, 1)


class Line(nn.Module):
    """A denoiser that multiplies the channels of its latents by a matrix, at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(3, 3, bias=False)
        nn.init.eye_(self.to_q.weight)

    def forward(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        del timesteps, encoded
        moved: Tensor = self.to_q(latents.movedim(1, -1)).movedim(-1, 1)
        return moved


@pytest.fixture
def model() -> Line:
    return Line()


@pytest.fixture
def lora(model: Line) -> Lora:
    return Lora(model, ("to_q",), 1, torch.Generator().manual_seed(0))


def sampler_of(model: Line, steps: int = 2, eta: float = 1.0) -> Sampler:
    schedule = NoiseSchedule(torch.linspace(0.9, 0.1, 10), "epsilon")
    return Sampler(model, schedule, steps, eta, 1.0)


def measured(sampler: Sampler, lora: Lora) -> Tensor:
    stream = torch.Generator().manual_seed(3)
    nothing = torch.zeros(2, 1, 1)
    return path_kl(
        sampler,
        lora,
        torch.randn(SHAPE, generator=stream),
        nothing,
        nothing,
        lambda: torch.randn(SHAPE, generator=stream),
    )


def move(lora: Lora, by: float) -> None:
    """Set the adapters so that the first channel is ``by`` larger and the others are as they were."""
    state = lora.state()
    for name, weight in state.items():
        weight.zero_()
        weight.reshape(-1)[0] = by if name.endswith("lora_B.weight") else 1.0
    lora.load(state)


def test_an_untrained_model_is_where_the_base_is(model: Line, lora: Lora) -> None:
    assert measured(sampler_of(model), lora).tolist() == [0.0, 0.0]


@torch.no_grad()
def test_it_is_the_sum_of_the_divergences_of_the_steps(model: Line, lora: Lora) -> None:
    move(lora, 0.3)
    sampler = sampler_of(model)
    stream = torch.Generator().manual_seed(3)
    latents, expected = torch.randn(SHAPE, generator=stream), torch.zeros(2)
    for now, following in sampler.ladder(latents):
        step = [
            sampler.schedule.transition(prediction, latents, now, following, 1.0)
            for prediction in (latents * torch.tensor([1.3, 1, 1]).reshape(1, 3, 1, 1, 1), latents)
        ]
        trained, base = (torch.distributions.Normal(mean, std.expand_as(mean)) for mean, std in step)
        expected += torch.distributions.kl_divergence(trained, base).flatten(1).sum(1)
        latents = step[0][0] + step[0][1] * torch.randn(SHAPE, generator=stream)
    torch.testing.assert_close(measured(sampler, lora), expected)
    assert expected.min() > 0


def test_twice_the_change_is_about_four_times_as_far(model: Line, lora: Lora) -> None:
    found = []
    for by in (1e-3, 2e-3):
        move(lora, by)
        found.append(float(measured(sampler_of(model), lora).sum()))
    assert math.isclose(found[1] / found[0], 4, rel_tol=0.02)


def test_the_adapters_are_on_again_afterwards(model: Line, lora: Lora) -> None:
    move(lora, 0.5)
    before = model(torch.ones(SHAPE), torch.zeros(2), torch.zeros(2, 1, 1))
    measured(sampler_of(model), lora)
    assert torch.equal(model(torch.ones(SHAPE), torch.zeros(2), torch.zeros(2, 1, 1)), before)


def test_paths_without_noise_have_no_divergence(model: Line, lora: Lora) -> None:
    with pytest.raises(UserError, match="gives no log-probability"):
        measured(sampler_of(model, eta=0.0), lora)
