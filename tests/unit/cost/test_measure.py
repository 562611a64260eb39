"""Measurements of arms on the CPU, against the estimate of ``plan``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.configs import tiny_run
from vader_bench.config.schema import ComponentConfig, MemoryConfig, RunConfig
from vader_bench.cost.measure import expected, measure, shortened
from vader_bench.cost.measured import ArmMeasurement
from vader_bench.cost.whatif import Changes, plan_arms, switched_on
from vader_bench.experiment.resolve import resolve_experiment
from vader_bench.weights import sizes
from vader_bench.weights.sizes import read_table

LARGE = {"frames": 4, "height": 32, "width": 32}
"""So large that activations, and not the networks of the tiny model, are most of the memory."""


def measured(run: RunConfig, **memory: Any) -> ArmMeasurement:
    return measured_arm(run, Changes(backbone=LARGE, memory=memory))


def measured_arm(run: RunConfig, changes: Changes, *, random_weights: bool = False) -> ArmMeasurement:
    (planned,) = plan_arms([run], changes)
    (found,) = measure([expected(planned)], "cpu", random_weights=random_weights)
    return found


def agree(found: ArmMeasurement) -> None:
    """Check that the estimate is within 15 % of the memory and 2 % of the FLOPs."""
    for spent in (found.training, found.look):
        assert spent.estimated_bytes == pytest.approx(spent.bytes, rel=0.15)
    assert found.training.estimated_flops == pytest.approx(found.training.flops, rel=0.02)
    assert found.training.seconds > 0
    assert found.look.seconds > 0


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("vader", {"batch_size": 2, "accumulation": 4}),
        pytest.param(
            "ddpo",
            {"batch_size": 2, "prompts_per_round": 2, "samples_per_prompt": 2},
            marks=pytest.mark.slow,
        ),
        pytest.param("diffusion-dpo", {"batch_size": 2}, marks=pytest.mark.slow),
    ],
)
def test_an_arm_takes_what_is_estimated(method: str, settings: dict[str, Any], tiny_pipeline: Path) -> None:
    found = measured(tiny_run(tiny_pipeline, method=method, settings=settings))
    agree(found)
    assert (found.arm, found.reward, found.batch, found.video) == (method, "red", 2, (4, 32, 32))
    assert found.training.videos == 2, "one batch of the update"
    assert not found.random_weights


@pytest.mark.slow
@pytest.mark.parametrize("memory", [{"slicing": True}, {"decode_tile": 16}, {"checkpointing": True}], ids=str)
def test_switches_take_what_is_estimated(memory: dict[str, Any], tiny_pipeline: Path) -> None:
    found = measured(tiny_run(tiny_pipeline), **memory)
    agree(found)
    assert found.memory == switched_on(MemoryConfig(**memory)) != "no switch"


@pytest.mark.slow
def test_random_weights_take_as_much(tiny_pipeline: Path) -> None:
    changes = Changes(backbone=LARGE)
    real = measured_arm(tiny_run(tiny_pipeline), changes)
    random = measured_arm(tiny_run(tiny_pipeline), changes, random_weights=True)
    assert random.random_weights
    agree(random)
    assert random.training.flops == real.training.flops
    assert random.training.bytes == pytest.approx(real.training.bytes, rel=0.02)


@pytest.mark.slow
def test_what_is_missing_is_random(
    tiny_pipeline: Path, tiny_clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A reward that is not here, and whose sizes are known."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(
        sizes, "_table", lambda: {"owner/clip": {"model": read_table(tiny_clip / "config.json")}}
    )
    settings = {"clip": "hf:owner/clip", "head": "hf:owner/head:head.pth"}
    rewards = {"red": ComponentConfig(family="aesthetic", settings=settings)}
    run = tiny_run(tiny_pipeline)
    run = run.model_copy(update={"suite": run.suite.model_copy(update={"rewards": rewards})})
    found = measured_arm(run, Changes(backbone=LARGE))
    assert found.random_weights
    agree(found)


def test_an_update_is_cut_to_one_batch(tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline, settings={"batch_size": 2, "accumulation": 2})
    short = shortened(run)
    assert (short.reward_queries, short.evaluation.every) == (2, 2)
    assert short.suite.evaluation_batch == 5, "there are no more held-out prompts"
    pairs = tiny_run(tiny_pipeline, method="diffusion-dpo", settings={"batch_size": 2})
    assert shortened(pairs).reward_queries == 2


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["pocket", "pocket-wan"])
def test_the_pocket_suites_take_what_is_estimated(suite: str) -> None:
    resolved = resolve_experiment(Path("fig7"), suite)
    run = next(run for run in resolved.runs if (run.reward, run.method) == ("aesthetic", "vader"))
    agree(measured_arm(run, Changes()))
    assert torch.get_num_threads() == 1
