"""ReFL: one late step carries the gradient, and the reward judges what is seen there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.support.benches import MakeBench
from vader_bench.methods.refl import Refl, ReflConfig

SMALL = {"batch_size": 2, "lora_rank": 2, "learning_rate": 1e-3}


@pytest.mark.parametrize(("window", "late"), [(0.25, {7, 8}), (0.5, {5, 6, 7, 8}), (0.01, {8})])
def test_the_step_is_one_of_the_last(make_bench: MakeBench, window: float, late: set[int]) -> None:
    method = Refl(ReflConfig(**SMALL, window=window), make_bench(steps=8).bench)
    assert {method._draw() for _ in range(100)} == late


def test_what_is_seen_at_the_last_step_is_what_a_deterministic_sampler_makes(make_bench: MakeBench) -> None:
    """DDIM with eta 0 steps to what it sees, but for the noise that is left at timestep 0."""
    method = Refl(ReflConfig(**SMALL), make_bench(steps=4, eta=0.0).bench)
    start, backbone = method.noise(2)(), method.bench.backbone
    encoded = backbone.encode(["a red cat", "a blue cat"])
    unconditional = backbone.unconditional(encoded)
    with torch.no_grad():
        foreseen = method.sampler.foreseen(start, encoded, unconditional, method.noise(2), step=3)
        sampled = method.sampler.plain(start, encoded, unconditional)
    left = (1 - backbone.schedule.alpha(torch.tensor([0]), sampled)).sqrt()  # type: ignore[attr-defined]
    assert (foreseen - sampled).abs().max() < 6 * left.max()


def test_one_call_carries_gradient(make_bench: MakeBench) -> None:
    stand = make_bench(steps=4, count_flops=False)
    method = Refl(ReflConfig(**SMALL, window=0.5), stand.bench)
    metrics = method.step(2)
    assert stand.meter.ledger.denoiser_backwards == 2
    assert stand.meter.ledger.denoiser_forwards == 2 * metrics["step"]
    assert stand.meter.ledger.gradient_queries == 2


def test_small_steps_raise_what_is_judged(make_bench: MakeBench) -> None:
    """The gradient is that of the objective: along it, what is seen at the first step rises as it says."""
    method = Refl(ReflConfig(**SMALL, window=0.01), make_bench(steps=2).bench)
    with torch.no_grad():
        for weight in method.lora.parameters():
            weight.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    state = {name: generator.get_state() for name, generator in method.generators.items()}

    def objective() -> Tensor:
        for name, generator in method.generators.items():
            generator.set_state(state[name])
        encoded, noise = method.bench.backbone.encode(["a red cat"]), method.noise(1)
        unconditional = method.bench.backbone.unconditional(encoded)
        latents = method.sampler.foreseen(noise(), encoded, unconditional, noise, step=0)
        return method.judge(latents, ["a red cat"], [0, 1, 2, 3]).objective.mean()

    before = objective()
    gradients = torch.autograd.grad(before, method.lora.parameters())
    length = float(sum(gradient.square().sum() for gradient in gradients))
    size = 1e-3 / length**0.5
    with torch.no_grad():
        for weight, gradient in zip(method.lora.parameters(), gradients, strict=True):
            weight.add_(size * gradient)
        after = objective()
    assert (after - before.detach()).item() == pytest.approx(size * length, rel=0.1)
