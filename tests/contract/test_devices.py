"""Every registered method on two devices: what two processes do together is what one does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim import SGD

from tests.support.configs import tiny_run
from vader_bench.config.schema import RunConfig
from vader_bench.launch.together import work_together
from vader_bench.methods import METHODS, base
from vader_bench.records.folder import RunFolder
from vader_bench.training.progress import Progress
from vader_bench.training.session import execute, follow
from vader_bench.world import World

pytestmark = pytest.mark.slow

GROUPS = {"prompts_per_round": 2, "samples_per_prompt": 3, "batch_size": 4}
SETTINGS: dict[str, dict[str, Any]] = {
    "vader": {"k": 2, "batch_size": 3, "accumulation": 2},
    "refl": {"batch_size": 3, "accumulation": 2},
    "ddpo": {**GROUPS, "updates_per_round": 1, "clip_range": 0.1},
    "grpo": {**GROUPS, "kl_weight": 0.1, "clip_range": 0.1},
    "diffusion-dpo": {"batch_size": 6, "group_size": 2, "beta": 100.0, "pairs": "offline"},
    "nft": GROUPS,
    "raft": GROUPS,
}
"""Rounds of six queries, two updates in all; batches of an odd number of videos, and of one."""


def runs(pipeline: Path) -> list[RunConfig]:
    every = {"every": 6, "prompts": 2, "splits": ["heldout"], "final_splits": ["heldout"], "final_prompts": 2}
    return [
        tiny_run(
            pipeline,
            method=name,
            settings=SETTINGS.get(name, {}) | {"learning_rate": 0.1},
            reward_queries=12,
            evaluation={**every, "samples": 1, "best_of": [1]},
            suite=guided(pipeline),
        )
        for name in METHODS.names()
    ]


def guided(pipeline: Path) -> dict[str, Any]:
    suite = tiny_run(pipeline).suite.model_dump()
    return suite | {"sampler": {"steps": 2, "eta": 1.0, "guidance": 2.0}}


def plain_descent(name: str, weights: Sequence[nn.Parameter], learning_rate: float, device: str) -> SGD:
    return SGD(weights, lr=learning_rate)


def do_all(
    configs: list[RunConfig], folder: Path, world: World, device: str, report: Callable[[Progress], None]
) -> None:
    # AdamW makes of a gradient that is rounding alone a whole step, and hides its size: a sum for a mean
    pytest.MonkeyPatch().setattr(base, "make_optimizer", plain_descent)
    for config in configs:
        if world.rank == 0:
            execute(config, folder / config.name, device, report, world=world)
        else:
            follow(config, device, world)


@pytest.fixture(scope="module")
def folders(tiny_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Where one process and two did the same runs."""
    alone, together = (tmp_path_factory.mktemp(name) for name in ("alone", "together"))
    configs = runs(tiny_pipeline)
    work_together(partial(do_all, configs, alone), 1, "cpu", lambda _: None, alone / "log.txt")
    work_together(partial(do_all, configs, together), 2, "cpu", lambda _: None, together / "log.txt")
    return alone, together


@pytest.mark.parametrize("method", METHODS.names())
def test_two_devices_give_the_adapters_and_the_record_of_one(method: str, folders: tuple[Path, Path]) -> None:
    one, two = (RunFolder(folder / f"{method}-red-seed1") for folder in folders)
    for queries in (6, 12):
        ours, theirs = (load_file(run.adapter_path(queries, 12)) for run in (one, two))
        for part in ("lora_A", "lora_B"):  # B starts at zero: it is the sum of the updates
            names = [name for name in ours if part in name]
            largest = max(float(ours[name].abs().max()) for name in names)
            assert largest > 0
            for name in names:
                torch.testing.assert_close(theirs[name], ours[name], rtol=0, atol=2e-4 * largest)
    for step, same in zip(steps(one), steps(two), strict=True):
        # the margin of Diffusion-DPO: a strength of hundreds times the difference of errors nearly the same
        assert same.pop("metrics") == pytest.approx(step.pop("metrics"), rel=1e-4, abs=1e-5)
        assert same == step, "the ledger"
    alone, shared = (run.load_record() for run in (one, two))
    assert (alone.machine.get("devices"), shared.machine.get("devices")) == (None, 2)
    assert [look.queries for look in shared.evaluations] == [look.queries for look in alone.evaluations]
    rewards = [[s.reward for look in r.evaluations for s in look.scores] for r in (alone, shared)]
    assert rewards[1] == pytest.approx(rewards[0], abs=1e-6)


def steps(run: RunFolder) -> list[dict[str, Any]]:
    """Return what the steps of a run spent, and their metrics."""
    lines = [line for line in run.metrics() if line["kind"] == "step"]
    assert len(lines) == 2
    assert all(line.pop("device_seconds") > 0 for line in lines)
    return lines
