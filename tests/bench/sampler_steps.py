"""Which steps of the sampler say what to a policy gradient? Each step's gradient, held against the true one.

Not collected by itself, for it takes some ten minutes: ``pytest -s tests/bench/sampler_steps.py``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.bench.test_step import ENOUGH, run_of, say
from vader_bench.budget.ledger import Budget, Meter
from vader_bench.methods import METHODS
from vader_bench.prompts.sets import prompt_stream
from vader_bench.training.load import load_components
from vader_bench.training.settle import settle_torch
from vader_bench.training.workbench import make_method

VIDEOS = 16
"""Of a batch."""
STILL: dict[str, Any] = {"batch_size": VIDEOS, "learning_rate": 1e-30, "max_grad_norm": 1e30}
"""The policy stays where it is, and no gradient is clipped."""
ROUND: dict[str, Any] = {"prompts_per_round": 16, "samples_per_prompt": 8, "clip_range": 1.0}


def test_the_gradient_of_each_step() -> None:
    """Prints its length, and the cosine of what the steps up to it say with the gradient through the sampler.

    The loss is a mean over steps, so that the gradient of a step is what leaving it out takes away.
    """
    settle_torch("cpu")
    steps = run_of("ddpo").suite.sampler.steps
    truth = gradient("vader", rounds=6, k=steps)
    up_to = [gradient("grpo", skip_last_steps=steps - count, **ROUND) for count in range(1, steps + 1)]
    assert torch.cosine_similarity(truth, gradient("vader", rounds=2, k=steps), dim=0) > 0.9
    before = torch.zeros_like(truth)
    for count, found in enumerate(up_to, start=1):
        length, cosine = (count * found - before).norm(), torch.cosine_similarity(found, truth, dim=0)
        say(f"step {count} of {steps}: length {length:.6f}; the first {count}: cosine {cosine:.2f}")
        before = count * found


def gradient(name: str, rounds: int = 1, **settings: Any) -> Tensor:
    """Return the mean gradient [weights] of ``rounds`` of a method on brightness, at the base model."""
    read = METHODS.get(name).Config(**(STILL | settings))
    run = run_of("ddpo").model_copy(update={"reward": "brightness", "method": name, "settings": read})
    parts, found = load_components(run, "cpu"), list[Tensor]()
    prompts = prompt_stream(parts.prompts.split("train"), run.seed)
    method = make_method(run, parts, Meter(Budget(reward_queries=ENOUGH)), prompts, "cpu")

    def keep(*_: object) -> None:
        grads = [weight.grad.flatten() for weight in method.lora.parameters() if weight.grad is not None]
        found.append(torch.cat(grads))

    method.optimizer.register_step_pre_hook(keep)
    for _ in range(rounds):
        method.step(run.settings.round_queries)
    assert len(found) == rounds, "one update a round"
    return torch.stack(found).mean(0)
