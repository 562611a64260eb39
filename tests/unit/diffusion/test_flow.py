"""The flow schedule against diffusers' schedulers, against Flow-GRPO's formula and against its definition."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Literal

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from torch import Tensor

from vader_bench.diffusion.flow import FlowSchedule
from vader_bench.diffusion.sampler import Sampler
from vader_bench.errors import UserError

EMPTY = torch.zeros(1, 1, 1)
UNIPC = {
    "_class_name": "UniPCMultistepScheduler",
    "use_flow_sigmas": True,
    "prediction_type": "flow_prediction",
    "flow_shift": 3.0,
}
LTX = {
    "use_dynamic_shifting": True,
    "shift_terminal": 0.1,
    "base_shift": 0.95,
    "max_shift": 2.05,
    "base_image_seq_len": 1024,
}
"""Changes to the Euler scheduler in LTX-Video's folder."""


def noise(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 4, 3, 5, 5, generator=generator, dtype=torch.float64)


def stored(scheduler: Any) -> dict[str, Any]:
    """Return what the scheduler's file would hold."""
    config: dict[str, Any] = json.loads(scheduler.to_json_string())
    return config


@pytest.mark.parametrize("shift", [1.0, 3.0, 7.0])
@pytest.mark.parametrize("steps", [1, 2, 20])
def test_the_ladder_is_that_of_diffusers_euler_scheduler(shift: float, steps: int) -> None:
    theirs = FlowMatchEulerDiscreteScheduler(shift=shift)
    ours = FlowSchedule.from_config(stored(theirs)).timesteps(steps)
    theirs.set_timesteps(steps)
    torch.testing.assert_close(ours, theirs.timesteps, rtol=1e-6, atol=1e-4)
    assert ours.dtype == torch.float32
    assert ours[0] == 1000


@pytest.mark.parametrize("steps", [1, 20, 50])
def test_the_ladder_is_that_of_diffusers_unipc_scheduler(steps: int) -> None:
    theirs = UniPCMultistepScheduler(**{key: value for key, value in UNIPC.items() if key != "_class_name"})
    ours = FlowSchedule.from_config(stored(theirs)).timesteps(steps)
    theirs.set_timesteps(steps)
    torch.testing.assert_close(ours, 1000 * theirs.sigmas[:-1], rtol=2e-6, atol=1e-4)


@pytest.mark.parametrize("kind", ["exponential", "linear"])
@pytest.mark.parametrize("tokens", [24, 2048, 6000])
def test_the_dynamic_ladder_is_that_of_diffusers(kind: str, tokens: int) -> None:
    theirs = FlowMatchEulerDiscreteScheduler(**LTX, time_shift_type=kind)
    schedule = FlowSchedule.from_config(stored(theirs), tokens=tokens)
    even = FlowSchedule(schedule.shift, "even", schedule.terminal).timesteps(10)
    mu = 0.95 + 1.1 * (tokens - 1024) / 3072
    theirs.set_timesteps(sigmas=[1 - i / 10 for i in range(10)], mu=mu)
    torch.testing.assert_close(even, theirs.timesteps, rtol=1e-5, atol=1e-3)
    assert even[-1].item() == pytest.approx(100)


@pytest.mark.parametrize("tokens", [24, 6000])
def test_the_dynamic_ladder_of_the_scheduler_itself_is_that_of_diffusers(tokens: int) -> None:
    theirs = FlowMatchEulerDiscreteScheduler(**LTX)
    ours = FlowSchedule.from_config(stored(theirs), tokens=tokens).timesteps(10)
    theirs.set_timesteps(10, mu=0.95 + 1.1 * (tokens - 1024) / 3072)
    torch.testing.assert_close(ours, theirs.timesteps, rtol=1e-5, atol=1e-3)


def test_a_single_step_is_not_stretched() -> None:
    assert FlowSchedule(2.0, terminal=0.1).timesteps(1).tolist() == [1000]


@pytest.mark.parametrize("sign", [1, -1])
def test_without_noise_a_whole_way_is_eulers(sign: Literal[1, -1]) -> None:
    def network(latents: Tensor, timesteps: Tensor, _: Tensor) -> Tensor:
        return torch.sin(latents + timesteps.reshape(-1, 1, 1, 1, 1) / 1000)

    theirs = FlowMatchEulerDiscreteScheduler(shift=3.0)
    schedule = FlowSchedule(3.0, "euler", sign=sign)

    def signed(latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        return sign * network(latents, timesteps, encoded)

    start = noise(0).float()
    ours = Sampler(signed, schedule, steps=8, eta=0.0, guidance=1.0).plain(start, EMPTY, EMPTY)
    theirs.set_timesteps(8)
    latents = start
    for timestep in theirs.timesteps:
        velocity = network(latents, timestep.expand(2), EMPTY)
        latents = theirs.step(velocity, timestep, latents, return_dict=False)[0]
    torch.testing.assert_close(ours, latents, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 10, 50])
def test_the_first_step_has_the_standard_deviation_eta(steps: int) -> None:
    """As sqrt(1 / (1 - s')) eta is multiplied by sqrt(1 - s')."""
    ladder = FlowSchedule().timesteps(steps)
    after = ladder[1:2] if steps > 1 else torch.zeros(1)
    _, std = FlowSchedule().transition(torch.ones(1, 1), torch.ones(1, 1), ladder[:1], after, 0.7)
    assert std.item() == pytest.approx(0.7)


def test_a_step_keeps_the_spread_of_the_noise_to_first_order() -> None:
    """The variance after a step differs from s'^2 by less and less, and by the square of the step."""
    schedule, clean, drawn = FlowSchedule(), torch.zeros(1, 1).double(), torch.ones(1, 1).double()
    errors = []
    for step in (40.0, 20.0, 10.0):
        now, after = torch.tensor([600.0]), torch.tensor([600.0 - step])
        mean, std = schedule.transition(
            drawn - clean, schedule.noised(clean, drawn, now), now, after, eta=1.0
        )
        errors.append(((mean**2 + std**2) - (after / 1000) ** 2).abs().item())
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("steps", [1, 2, 20])
def test_every_step_has_a_density_where_noise_is_wanted(steps: int) -> None:
    schedule = FlowSchedule(3.0)
    ladder = schedule.timesteps(steps)
    following = schedule.previous(ladder, steps)
    assert following[-1] == 0
    latents = torch.ones(steps, 3)
    for eta, positive in ((0.0, False), (0.7, True)):
        mean, std = schedule.transition(latents, latents, ladder, following, eta)
        assert torch.isfinite(mean).all()
        assert torch.isfinite(std).all()
        assert bool((std > 0).all()) is positive


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("timestep", [1.0, 500.0, 1000.0])
def test_the_target_is_split_into_what_it_was_made_of(timestep: float, sign: Literal[1, -1]) -> None:
    schedule, clean, drawn = FlowSchedule(sign=sign), noise(3), noise(4)
    timesteps = torch.full((2,), timestep)
    noisy, target = schedule.noised(clean, drawn, timesteps), schedule.target(clean, drawn, timesteps)
    torch.testing.assert_close(target, sign * (drawn - clean))
    found = schedule.split(target, noisy, timesteps)
    torch.testing.assert_close(found, (clean, drawn))


def test_training_timesteps_are_logit_normal_shifted_and_follow_their_generator() -> None:
    schedule = FlowSchedule(3.0)
    drawn = schedule.draw(20_000, torch.Generator().manual_seed(5)) / 1000
    plain = drawn / (3 - 2 * drawn)
    assert drawn.min() > 0
    assert drawn.max() < 1
    assert plain.logit().mean().item() == pytest.approx(0, abs=0.03)
    assert plain.logit().std().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(drawn, schedule.draw(20_000, torch.Generator().manual_seed(5)) / 1000)


def test_a_shift_of_ones_own_replaces_the_configs() -> None:
    assert FlowSchedule.from_config(UNIPC).shift == 3
    assert FlowSchedule.from_config(UNIPC, shift=5.0).shift == 5
    assert FlowSchedule.from_config({"shift": 2.0}).shift == 2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"use_karras_sigmas": True}, "file.json: use_karras_sigmas = true: is not supported"),
        ({"invert_sigmas": True}, "file.json: invert_sigmas = true"),
        ({"num_train_timesteps": 500}, "num_train_timesteps = 500: is not supported; set it to 1000"),
        ({"_class_name": "DDIMScheduler"}, "_class_name = 'DDIMScheduler': is not one of a flow model"),
        (UNIPC | {"use_flow_sigmas": False}, "without use_flow_sigmas"),
        (UNIPC | {"prediction_type": "epsilon"}, "without use_flow_sigmas and flow_prediction"),
        (LTX, "use_dynamic_shifting = true"),
    ],
)
def test_other_arithmetic_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FlowSchedule.from_config(config, "file.json")


def test_no_step_is_no_ladder() -> None:
    with pytest.raises(UserError, match="sampler steps = 0"):
        FlowSchedule().timesteps(0)
