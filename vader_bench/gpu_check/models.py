"""Released models at full size with random weights, measured beside the plan: on the card and on 16 GB."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any, NamedTuple

import torch

from vader_bench.config.schema import EvaluationConfig, RunConfig
from vader_bench.cost.gpus import SMALL, Gpu
from vader_bench.cost.measure import Expected, expected, measure
from vader_bench.cost.whatif import Changes, advised, plan_arms, switched_on, switches, with_switches
from vader_bench.experiment.load import load_suite
from vader_bench.gpu_check.outcome import CheckOutcome
from vader_bench.methods import METHODS

__all__ = ["CAP", "MODELS", "PlannedModel", "measure_model", "outcome_names", "plan_model"]

MODELS: dict[str, dict[str, Any]] = {
    "modelscope": {"height": 384, "width": 384},  # as the code of the VADER paper trains it
    "videocrafter2": {},
    "open-sora-1.2": {},
    "svd": {},
    "ltx": {},
    "wan2.1": {},
}
"""Suites, with settings of the backbone where the suite is smaller than the paper's."""
CAP = 16 * 10**9
"""Bytes that the allocator gets on the small card."""
_STEPS = 4
"""Of the sampler: fewer than the suites have, which changes time in proportion and memory not at all."""
_MISS = 0.15
"""Most that an estimate of memory may miss by."""


class PlannedModel(NamedTuple):
    """A model with the switches that make it fit."""

    name: str
    """Of the outcome."""
    expected: Expected | None
    """``None`` where no switches make it fit."""
    cap: int | None
    """Bytes of the allocator; ``None`` is the whole card."""


def outcome_names(suite: str) -> tuple[str, str]:
    """Return the names of what ``measure_model`` yields."""
    return f"measure {suite}", f"measure {suite} in 16 GB"


def plan_model(suite: str, memory: int) -> list[PlannedModel]:
    """Return VADER on ``suite``, with what makes it fit a card of ``memory`` bytes, and one of 16 GB.

    Takes a minute of a core, and no GPU.
    """
    whole, small = outcome_names(suite)
    run = _run(suite)
    card = Gpu(memory / 2**20, 1, 1, 1)
    return [
        PlannedModel(whole, _fitting(run, MODELS[suite], card), None),
        PlannedModel(small, _fitting(run, MODELS[suite], SMALL), CAP),
    ]


def measure_model(planned: Sequence[PlannedModel], device: str) -> Iterator[CheckOutcome]:
    """Yield what each of ``planned`` takes on ``device``, a GPU; or where the estimate misses."""
    total = torch.cuda.get_device_properties(device).total_memory
    for one in planned:
        started = perf_counter()
        if one.expected is None:
            yield CheckOutcome(
                name=one.name, verdict="skipped", why="`plan` knows no switches that make it fit"
            )
            continue
        torch.cuda.set_per_process_memory_fraction(min(1.0, (one.cap or total) / total), device)
        try:
            outcome = _outcome(one.name, one.expected, device)
        except torch.OutOfMemoryError as error:
            outcome = CheckOutcome(
                name=one.name, verdict="failed", why=f"out of memory: {error}".splitlines()[0]
            )
        yield outcome.model_copy(update={"seconds": perf_counter() - started})
        gc.collect()  # a graph that was cut off by a failure may be in a circle
        torch.cuda.empty_cache()


def _outcome(name: str, one: Expected, device: str) -> CheckOutcome:
    found = list(measure([one], device, random_weights=True))
    misses = [
        abs(spent.estimated_bytes / spent.bytes - 1) for arm in found for spent in (arm.training, arm.look)
    ]
    said = f"{switched_on(one.run.suite.memory)} on, {one.precision}"
    if max(misses) > _MISS:
        said += f"; the estimate of memory misses by {max(misses):.0%}"
    return CheckOutcome(
        name=name, verdict="failed" if max(misses) > _MISS else "passed", why=said, measured=tuple(found)
    )


def _run(name: str) -> RunConfig:
    suite = load_suite(name)
    sampler = suite.sampler.model_copy(update={"steps": _STEPS})
    return RunConfig(
        experiment="gpu-check",
        suite=suite.model_copy(update={"sampler": sampler}),
        method="vader",
        settings=METHODS.get("vader").Config(**suite.methods["vader"]),
        reward="aesthetic",
        prompts=suite.prompts_for("aesthetic"),
        seed=1,
        reward_queries=2,
        evaluation=EvaluationConfig(every=2),
    )


def _fitting(run: RunConfig, backbone: dict[str, Any], card: Gpu) -> Expected | None:
    """Return ``run`` with the switches that it needs on ``card``; ``None`` where none are enough."""
    changes = Changes(backbone=backbone)
    (planned,) = plan_arms([run], changes)
    if not planned.estimate.most.fits(card):
        said = advised([list(switches(planned, card))])
        (planned,) = plan_arms([with_switches(run, said)], changes)
    return expected(planned) if planned.estimate.most.fits(card) else None
