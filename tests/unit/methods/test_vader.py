from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.support.benches import MakeBench, RedReward
from vader_bench.errors import UserError
from vader_bench.methods import Method
from vader_bench.methods.vader import VaderConfig
from vader_bench.rewards.base import Judgement

SMALL = {"batch_size": 2, "lora_rank": 2}


class Saturated(RedReward):
    """A reward whose score has no gradient, but whose objective has."""

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        red = super().judge(video, prompts).score
        return Judgement(torch.ones_like(red), red)


@pytest.mark.parametrize("k", [1, 3, 4])
def test_the_last_k_steps_carry_gradient(k: int, make_bench: MakeBench) -> None:
    stand = make_bench()
    metrics = stand.method("vader", k=k, **SMALL).step(64)
    assert metrics["k"] == k
    assert stand.meter.ledger.denoiser_backwards == 2 * k
    assert stand.meter.ledger.denoiser_forwards == 2 * 4


def test_random_k_takes_every_value(make_bench: MakeBench) -> None:
    method = make_bench(steps=3).method("vader", k="random", **SMALL)
    drawn = [method._draw() for _ in range(60)]  # type: ignore[attr-defined] # a method of Vader
    assert set(drawn) == {1, 2, 3}


@pytest.mark.parametrize("k", [0, 5])
def test_k_out_of_range_is_refused(k: int, make_bench: MakeBench) -> None:
    with pytest.raises(UserError, match=f"^k = {k}: is out of range; choose 1 to 4, or random"):
        make_bench().method("vader", k=k)


def test_k_is_a_number_or_random() -> None:
    with pytest.raises(ValidationError, match="k"):
        VaderConfig(k="last")


def test_a_reward_without_gradient_is_refused(make_bench: MakeBench) -> None:
    with pytest.raises(UserError, match="reward 'red': has no gradient; use ddpo or diffusion-dpo"):
        make_bench(RedReward(differentiable=False)).method("vader")


def test_the_objective_is_raised_and_the_score_is_logged(make_bench: MakeBench) -> None:
    metrics = make_bench(Saturated()).method("vader", **SMALL).step(2)
    assert metrics["reward"] == 1.0
    assert metrics["loss"] == -metrics["objective"] != -1.0
    assert metrics["grad_norm"] > 0


def test_the_reward_rises(make_bench: MakeBench) -> None:
    stand = make_bench(queries=1000, steps=2)
    method = stand.method("vader", batch_size=4, learning_rate=1e-2, lora_rank=4)
    rewards = [method.step(4)["reward"] for _ in range(40)]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.05


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every video start from the same noise and meet none on the way, whatever its batch."""

    def nothing(method: Method, videos: int) -> Callable[[], Tensor]:
        shape = (videos, *method.bench.backbone.latent_shape)
        return lambda: torch.full(shape, 0.5)

    monkeypatch.setattr(Method, "noise", nothing)


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("name", ["vader", "diffusion-dpo"])
def test_accumulated_batches_make_the_update_of_one_large_batch(name: str, make_bench: MakeBench) -> None:
    states, metrics = [], []
    for sizes in ({"batch_size": 4}, {"batch_size": 2, "accumulation": 2}):
        stand = make_bench()
        method = stand.method(name, lora_rank=2, learning_rate=1e-3, **sizes)
        metrics.append(method.step(64))
        states.append(method.lora.state())
        assert stand.meter.ledger.reward_queries == 4
        assert stand.prompts.position == (4 if name == "vader" else 2)
    if name == "vader":
        torch.testing.assert_close(states[0], states[1], rtol=0, atol=1e-4)  # a step is 1e-3
        assert metrics[0] == pytest.approx(metrics[1], rel=1e-4)
    assert metrics[0]["reward"] == pytest.approx(metrics[1]["reward"], rel=1e-5)


@pytest.mark.parametrize("name", ["vader", "diffusion-dpo"])
@pytest.mark.parametrize(("allowance", "spent"), [(3, 3), (5, 5), (64, 6)])
def test_accumulation_is_cut_to_the_allowance_and_updates_once(
    name: str, allowance: int, spent: int, make_bench: MakeBench
) -> None:
    stand = make_bench()
    method = stand.method(name, batch_size=2, accumulation=3, lora_rank=2)
    method.step(allowance)
    assert stand.meter.ledger.reward_queries == spent
    steps = {int(state["step"]) for state in method.optimizer.state.values()}
    assert steps <= {1}
