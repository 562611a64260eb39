"""Every method on the pocket suites: two steps, the same on a GPU as on the CPU."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from time import perf_counter

import torch

from vader_bench.budget.ledger import Budget, Meter
from vader_bench.config.schema import EvaluationConfig, RunConfig
from vader_bench.experiment.load import load_suite
from vader_bench.gpu_check.outcome import CheckOutcome, StepsCompared
from vader_bench.methods import METHODS
from vader_bench.prompts.sets import prompt_stream
from vader_bench.training.load import load_components
from vader_bench.training.settle import settle_torch
from vader_bench.training.workbench import make_method

__all__ = ["POCKET_SUITES", "compare_pocket", "compare_second_card", "largest_difference"]

POCKET_SUITES = ("pocket", "pocket-wan", "pocket-i2v")
TOLERANCE = (0.02, 0.2)
"""Most relative difference from the CPU in the first and the second step: other kernels round otherwise, and
AdamW's first update moves every weight by the learning rate, in the direction of a sign."""
_STEPS = 2
_QUERIES = 4
_COMPARED = ("reward", "loss", "grad_norm")
_FLOOR = 1e-3
"""Numbers smaller than this are compared as if they were this: a loss may be zero."""
_SMALL = {"batch_size": 2, "lora_rank": 4, "prompts_per_round": 2, "samples_per_prompt": 2}
_SAMPLER_STEPS = 4

Metrics = Sequence[dict[str, float]]
"""Of each step."""


def compare_pocket(suite: str, device: str) -> Iterator[CheckOutcome]:
    """Yield how every method does on ``suite``: finite, and on a GPU equal to the CPU within tolerance."""
    started, found = perf_counter(), []
    for method in METHODS.table:
        reference = _steps(suite, method, "cpu")
        steps = reference if device == "cpu" else _steps(suite, method, device)
        found.append(_compared(suite, method, reference, steps, same=device == "cpu"))
    wrong = [one.method for one in found if not one.finite or (one.difference or 0) > 1]
    yield CheckOutcome(
        name=f"pocket {suite}",
        verdict="failed" if wrong else "passed",
        seconds=perf_counter() - started,
        why=f"differs from the CPU or is not finite: {', '.join(wrong)}" if wrong else "",
        steps=tuple(found),
    )


def compare_second_card(device: str) -> Iterator[CheckOutcome]:
    """Yield whether a step on the second card is that of the first, and takes no memory of the first."""
    del device
    started = perf_counter()
    second = _steps("pocket", "vader", "cuda:1")
    elsewhere = torch.cuda.memory_allocated("cuda:0")
    found = _compared("pocket", "vader", _steps("pocket", "vader", "cuda:0"), second, same=False)
    wrong = not found.finite or (found.difference or 0) > 1 or elsewhere > 0
    yield CheckOutcome(
        name="second card",
        verdict="failed" if wrong else "passed",
        seconds=perf_counter() - started,
        why=f"{elsewhere} bytes were taken on the first card" if elsewhere else "",
        steps=(found,),
    )


def largest_difference(reference: Metrics, found: Metrics) -> float:
    """Return the largest difference of what is compared, relative and in units of ``TOLERANCE``."""
    return max(
        abs(one[key] - other[key]) / max(abs(one[key]), _FLOOR) / tolerance
        for one, other, tolerance in zip(reference, found, TOLERANCE, strict=True)
        for key in _COMPARED
    )


def _compared(suite: str, method: str, reference: Metrics, found: Metrics, *, same: bool) -> StepsCompared:
    finite = all(math.isfinite(value) for metrics in found for value in metrics.values())
    difference = None if same or not finite else largest_difference(reference, found)
    return StepsCompared(suite=suite, method=method, finite=finite, difference=difference)


def _steps(suite: str, method: str, device: str) -> Metrics:
    """Return the metrics of two steps of ``method``."""
    settle_torch(device)
    run = _run(suite, method)
    components, meter = load_components(run, device), Meter(Budget(reward_queries=run.reward_queries))
    prompts = prompt_stream(components.prompts.split("train"), run.seed)
    work = make_method(run, components, meter, prompts, device)
    return [work.step(_QUERIES) for _ in range(_STEPS)]


def _run(name: str, method: str) -> RunConfig:
    suite, config = load_suite(name), METHODS.get(method).Config
    sampler = suite.sampler.model_copy(update={"steps": _SAMPLER_STEPS})
    small = {key: value for key, value in _SMALL.items() if key in config.model_fields}
    return RunConfig(
        experiment="gpu-check",
        suite=suite.model_copy(update={"sampler": sampler}),
        method=method,
        settings=config(learning_rate=1e-3, **small),
        reward="aesthetic",
        prompts=suite.prompts_for("aesthetic"),
        seed=1,
        reward_queries=_STEPS * _QUERIES,
        evaluation=EvaluationConfig(every=_QUERIES),
    )
