from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.configs import tiny_run
from vader_bench.errors import UserError
from vader_bench.plan.gpus import Gpu
from vader_bench.plan.whatif import Changes, plan_arms, switches

TINY = Gpu(0.001, 1, 1, 1)


def test_changes_reach_backbone_and_method(tiny_pipeline: Path) -> None:
    changes = Changes(backbone={"frames": 2}, k=2, batch=1)
    run = changes.of(tiny_run(tiny_pipeline))
    assert run.suite.backbone.settings["frames"] == 2
    assert (run.settings["k"], run.settings["batch_size"]) == (2, 1)
    pair = changes.of(tiny_run(tiny_pipeline, method="diffusion-dpo"))
    assert pair.settings["batch_size"] == 2, "a pair is the least"
    assert "k" not in pair.settings or pair.settings["k"] is None


def test_an_arm_is_estimated_once_whatever_its_seeds(tiny_pipeline: Path) -> None:
    runs = [tiny_run(tiny_pipeline, seed=seed) for seed in (1, 2)]
    runs = [tiny_run(tiny_pipeline, method="base"), *(Changes().of(run) for run in runs)]
    planned = plan_arms(runs, Changes())
    assert [(one.run.method, one.run.seed) for one in planned] == [("vader", 1)]


def test_more_steps_with_gradient_keep_more(tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline)
    one, two = (plan_arms([run], Changes(k=k))[0].estimate for k in (1, 2))
    assert two.memory.kept > 1.5 * one.memory.kept
    assert two.flops > one.flops


def test_every_switch_saves_and_all_together_save_most(tiny_pipeline: Path) -> None:
    planned = plan_arms([tiny_run(tiny_pipeline)], Changes())[0]
    found = {switch.name: switch.memory.total for switch in switches(planned, TINY, Changes())}
    assert set(found) >= {"batch 1", "one decoded frame", "checkpointing", "half precision", "all of these"}
    assert max(found.values()) <= planned.estimate.memory.total
    assert min(found, key=lambda name: found[name]) == "all of these"
    assert found["batch 1"] < planned.estimate.memory.total


def test_an_unknown_precision_is_refused(tiny_pipeline: Path) -> None:
    with pytest.raises(UserError, match=r"precision 'fp8': is not known; choose one of: fp32, fp16, bf16"):
        plan_arms([tiny_run(tiny_pipeline)], Changes(precision="fp8"))
