"""What every policy-gradient method must do: estimate the gradient of the expected reward.

The mean gradient of the reward through all steps of a stochastic sampler (VADER) and the mean of the method's
first gradient estimate one vector, up to the known scale of advantages and log-probabilities:
grad E[R] = E[(R - b) sum over steps of grad log p(step)] (Williams 1992).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from tests.support.benches import RedReward, make_stand
from vader_bench.backbones import Backbone
from vader_bench.diffusion import sampler
from vader_bench.diffusion.flow import FlowSchedule, Sde
from vader_bench.diffusion.sampler import Sampler
from vader_bench.diffusion.schedule import NoiseSchedule, Schedule
from vader_bench.methods import METHODS
from vader_bench.rewards.base import Judgement

STEPS = 3
ELEMENTS = 3
"""Of the latents of a video."""
ROUNDS, VIDEOS = 20, 500
"""10,000 samples; the rounds are independent, and say how sure their mean is."""
ALIKE: dict[str, Any] = {"batch_size": VIDEOS, "lora_rank": 2, "learning_rate": 1e-30, "max_grad_norm": 1e30}
"""The policy stays where it is, and no gradient is clipped."""


class Form(NamedTuple):
    """How a method is asked for one update a round, all of it on policy."""

    settings: dict[str, Any]
    scale: Callable[[float], float]
    """What its gradient is to be multiplied by, given the standard deviation of the rewards."""


FORMS = {
    "ddpo": Form(
        {
            "prompts_per_round": VIDEOS,
            "samples_per_prompt": 1,
            "updates_per_round": 1,
            "per_prompt_statistics": False,
            "advantage_clip": 100.0,
        },
        # the mean over steps of mean log-probabilities, and rewards in units of their standard deviation
        lambda deviation: STEPS * ELEMENTS * deviation,
    ),
    "grpo": Form(
        {
            "prompts_per_round": 1,
            "samples_per_prompt": VIDEOS,
            "updates_per_round": 1,
            "advantage_clip": 100.0,
            "skip_last_steps": 0,
        },
        lambda deviation: STEPS * ELEMENTS * (deviation + 1e-4),
    ),
}
"""Every method that says of itself that it is a policy gradient."""


class Layer(nn.Module):
    """One layer, which adapters can be put on."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(ELEMENTS, ELEMENTS)

    def forward(self, channels: Tensor) -> Tensor:
        """Return a prediction of the shape of ``channels`` [..., ELEMENTS]."""
        prediction: Tensor = self.to_q(channels)
        return prediction


class Linear(Backbone):
    """An affine denoiser over the channels of a latent of one pixel; a picture is its sigmoid.

    It sees latents away from 0, or its weights would act one way on half of the samples and back on the rest.
    """

    name = "linear"
    lora_targets = ("to_q",)
    latent_shape = (ELEMENTS, 1, 1, 1)
    # noisy to the end, so that the log-probability of the last step is no wild estimate
    ddim = NoiseSchedule(torch.linspace(0.6, 0.02, 30), "v_prediction", "trailing")

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.denoiser = Layer()
        for weight in self.denoiser.parameters():
            nn.init.normal_(weight, std=0.5, generator=torch.Generator().manual_seed(1))

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return nothing that matters."""
        return torch.zeros(len(prompts), 1, 1)

    def denoise(self, latents: Tensor, timesteps: Tensor, encoded: Tensor) -> Tensor:
        """Return the prediction [B, C, 1, 1, 1]."""
        del timesteps, encoded
        prediction: Tensor = self.denoiser(latents.movedim(1, -1) + 2)
        return prediction.movedim(-1, 1)

    def decode(self, latents: Tensor, frames: Sequence[int] | None = None) -> Tensor:
        """Return pictures [B, 1, 3, 1, 1]."""
        del frames
        return latents.movedim(1, 2).sigmoid()

    def enable_checkpointing(self) -> None:
        """There is nothing to compute again."""

    def modules(self) -> list[nn.Module]:
        """Return the denoiser."""
        return [self.denoiser]


class Remembering(RedReward):
    """A reward that keeps its scores."""

    def __init__(self) -> None:
        super().__init__()
        self.scores: list[Tensor] = []

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        judgement = super().judge(video, prompts)
        self.scores.append(judgement.score.detach())
        return judgement


def first_gradients(name: str, schedule: Schedule, **settings: Any) -> tuple[Tensor, float]:
    """Return the gradients [ROUNDS, weights] of rounds on one policy, and the deviation of their rewards."""
    reward, gradients = Remembering(), list[Tensor]()
    stand = make_stand(
        Linear(schedule), reward, queries=ROUNDS * VIDEOS, steps=STEPS, seed=sum(map(ord, name))
    )
    method = stand.method(name, **(ALIKE | settings))
    with torch.no_grad():  # off the start, where half of the adapters has no gradient
        for weight in method.lora.parameters():
            weight.normal_(std=0.3, generator=torch.Generator().manual_seed(2))

    def keep(*_: object) -> None:
        found = [weight.grad.flatten() for weight in method.lora.parameters() if weight.grad is not None]
        gradients.append(torch.cat(found).clone())

    method.optimizer.register_step_pre_hook(keep)
    for _ in range(ROUNDS):
        method.step(VIDEOS)
    assert len(gradients) == ROUNDS, "one update a round"
    return torch.stack(gradients), torch.cat(reward.scores).std().item()


class Agreement(NamedTuple):
    """The gradient of a method along the pathwise one."""

    ratio: float
    """Of their lengths along it: 1 where both estimate the same."""
    error: float
    """Standard error of the ratio, by rounds."""
    across: float
    """Length of what of the method's gradient is across it, in standard errors of that."""

    @property
    def holds(self) -> bool:
        """Whether the ratio is 1 within its 99.9 % interval, which is narrow, and nothing is across."""
        return self.error < 0.05 and abs(self.ratio - 1) < 3.9 * self.error and self.across < 2


def agreement(name: str, schedule: Schedule = Linear.ddim) -> Agreement:
    form = FORMS[name]
    pathwise, _ = first_gradients("vader", schedule, k=STEPS)
    found, deviation = first_gradients(name, schedule, **form.settings)
    found, truth = found * form.scale(deviation), pathwise.mean(0)
    length = truth.norm()
    along, own = found @ truth / length**2, pathwise @ truth / length**2
    error = math.sqrt((along.var() + own.var()).item() / ROUNDS)
    rest = found - along[:, None] * truth
    noise = math.sqrt(rest.var(0).sum().item() / ROUNDS)
    return Agreement(along.mean().item(), error, rest.mean(0).norm().item() / noise)


def policy_gradients() -> list[str]:
    return [name for name in METHODS.names() if METHODS.get(name).policy_gradient]


@pytest.mark.parametrize("name", policy_gradients())
def test_it_estimates_the_gradient_of_the_expected_reward(name: str) -> None:
    found = agreement(name)
    assert found.holds, found


@pytest.mark.parametrize("sde", ["flow-grpo", "dance-grpo"])
def test_it_does_so_on_either_stochastic_equation_of_a_flow(sde: Sde) -> None:
    found = agreement("grpo", FlowSchedule(sde=sde))
    assert found.holds, found


def wrong_sign(patch: pytest.MonkeyPatch) -> None:
    right = sampler.gaussian_log_prob
    patch.setattr(sampler, "gaussian_log_prob", lambda *given: 2 * right(*given).detach() - right(*given))


def dropped_step(patch: pytest.MonkeyPatch) -> None:
    right, last = Sampler.log_prob, Linear.ddim.timesteps(STEPS)[-1]

    def without(self: Sampler, prediction: Tensor, latents: Tensor, now: Tensor, reached: Tensor) -> Tensor:
        found = right(self, prediction, latents, now, reached)
        return torch.where(now == last, found.detach(), found)

    patch.setattr(Sampler, "log_prob", without)


def wrong_variance(patch: pytest.MonkeyPatch) -> None:
    right = sampler.gaussian_log_prob
    patch.setattr(sampler, "gaussian_log_prob", lambda to, mean, std: right(to, mean, 1.25 * std))


@pytest.mark.parametrize("name", policy_gradients())
@pytest.mark.parametrize("fault", [wrong_sign, dropped_step, wrong_variance])
def test_a_wrong_estimator_is_found_out(
    fault: Callable[[pytest.MonkeyPatch], None], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    found = agreement(name)
    assert found.error < 0.05
    assert not found.holds, found
