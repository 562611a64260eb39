"""Where a step's time and memory go, on the pocket suite. ``nox -s bench`` runs this and prints the figures.

Every figure is a ratio of measurements in one process, so that machines can be compared.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from vader_bench.budget.ledger import Budget, Meter
from vader_bench.config.schema import RunConfig
from vader_bench.experiment.grid import expand
from vader_bench.experiment.load import load_experiment
from vader_bench.methods import Method
from vader_bench.prompts.sets import prompt_stream
from vader_bench.training.load import Components, load_components
from vader_bench.training.settle import settle_torch
from vader_bench.training.workbench import make_method

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "fig7.yaml"
ENOUGH = 10_000
ROUNDS = 5


@dataclass
class Clock:
    """Seconds spent inside the calls it is put around; a call inside another one is not counted twice."""

    seconds: float = 0.0
    _depth: int = field(default=0, init=False)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._depth += 1
        start = perf_counter()
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self.seconds += perf_counter() - start

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **keywords: Any) -> Any:
            with self.running():
                return call(*arguments, **keywords)

        return timed


def run_of(method: str, **sampler: int) -> RunConfig:
    """Return the first run of ``method`` in the experiment of Fig. 7, with changes to its sampler."""
    experiment = load_experiment(EXPERIMENT)
    run = next(run for run in expand(experiment) if run.method == method)
    suite = run.suite.model_copy(update={"sampler": run.suite.sampler.model_copy(update=sampler)})
    return run.model_copy(update={"suite": suite})


def set_up(config: RunConfig) -> tuple[Components, Meter, Method]:
    """Return what a run of ``config`` works with; its first step is done, which counts FLOPs."""
    settle_torch("cpu")
    components, meter = load_components(config, "cpu"), Meter(Budget(reward_queries=ENOUGH))
    prompts = prompt_stream(components.prompts.split("train"), config.seed)
    method = make_method(config, components, meter, prompts, "cpu")
    method.step(ENOUGH)
    return components, meter, method


def say(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")


def matmul_rate(size: int = 512, repeats: int = 8) -> float:
    """Return the FLOP/s of multiplying square matrices with the threads that a run has."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    start = perf_counter()
    for _ in range(repeats):
        a @ b
    return 2 * size**3 * repeats / (perf_counter() - start)


@pytest.mark.parametrize("method", ["vader", "ddpo", "diffusion-dpo"])
def test_a_step_is_spent_inside_the_models(
    method: str, benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    components, meter, trained = set_up(run_of(method))
    inside, rates = Clock(), [matmul_rate()]
    for owner, name in (
        (components.backbone, "denoise"),
        (components.backbone, "decode"),
        (components.reward, "judge"),
    ):
        monkeypatch.setattr(owner, name, inside.around(getattr(owner, name)))
    # the graph of a loss is that of these calls, but for the sampler's arithmetic between them
    monkeypatch.setattr(torch.Tensor, "backward", inside.around(torch.Tensor.backward))
    flops, total = meter.ledger.flops, 0.0

    def step() -> None:
        nonlocal total
        start = perf_counter()
        trained.step(ENOUGH)
        total += perf_counter() - start
        rates.append(matmul_rate())

    repeat: Callable[..., None] = benchmark.pedantic  # has no annotations of its own
    repeat(step, rounds=ROUNDS)
    share = inside.seconds / total
    rate = (meter.ledger.flops - flops) / total / (sum(rates) / len(rates))
    benchmark.extra_info |= {"share inside models": share, "FLOP/s over matmul FLOP/s": rate}
    say(f"{method}: {share:.1%} of a step inside denoiser, decoder and reward; FLOP/s {rate:.0%} of matmul's")
    assert share >= 0.95


def saved_bytes(config: RunConfig) -> int:
    """Return the bytes that one step keeps for its backward pass."""
    _, _, method = set_up(config)
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        method.step(ENOUGH)
    return sum(kept.values())


@pytest.mark.parametrize("k", [1, None])
def test_memory_does_not_grow_with_sampler_steps_at_k_1(k: int | None) -> None:
    few, many = 5, 15
    sizes = []
    for steps in (few, many):
        config = run_of("vader", steps=steps)
        config = config.model_copy(update={"settings": config.settings.model_copy(update={"k": k or steps})})
        sizes.append(saved_bytes(config))
    growth = (sizes[1] / sizes[0] - 1) / (many - few)
    which = "all steps" if k is None else k
    say(f"vader, k = {which}: {sizes[0] / 2**20:.1f} MiB kept for {few} steps, {growth:+.2%} a step")
    if k == 1:
        assert abs(growth) < 0.01
    else:
        assert growth > 0.1, "with gradient through all steps it does grow, or the measurement is broken"
