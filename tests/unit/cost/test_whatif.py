from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.configs import tiny_run
from tests.support.networks import made_once
from vader_bench.config.schema import MemoryConfig
from vader_bench.cost import whatif
from vader_bench.cost.estimate import RESERVE, Memory
from vader_bench.cost.gpus import Gpu
from vader_bench.cost.whatif import (
    Changes,
    Switched,
    advised,
    frozen_weights,
    plan_arms,
    switches,
    with_switches,
)
from vader_bench.errors import UserError
from vader_bench.methods.vader import VaderConfig

TINY = Gpu(1, 1, 1, 1)


@pytest.fixture(autouse=True)
def _networks_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whatif, "Skeletons", made_once)


def test_changes_reach_backbone_memory_and_method(tiny_pipeline: Path) -> None:
    changes = Changes(backbone={"frames": 2}, memory={"checkpointing": True}, settings={"k": 2}, batch=1)
    run = changes.of(tiny_run(tiny_pipeline))
    assert run.suite.backbone.settings["frames"] == 2
    assert run.suite.memory == MemoryConfig(checkpointing=True)
    settings = dict(run.settings)
    assert (settings["k"], settings["batch_size"]) == (2, 1)
    pair = changes.of(tiny_run(tiny_pipeline, method="diffusion-dpo"))
    settings = dict(pair.settings)
    assert settings["batch_size"] == 2, "a pair is the least"
    assert "k" not in settings


def test_a_method_says_which_of_its_settings_change(
    tiny_pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VaderConfig, "what_ifs", ("accumulation",))
    settings = dict(Changes(settings={"accumulation": 3, "k": 2}).of(tiny_run(tiny_pipeline)).settings)
    assert (settings["accumulation"], settings["k"]) == (3, 1)


def test_an_arm_is_estimated_once_whatever_its_seeds(tiny_pipeline: Path) -> None:
    runs = [tiny_run(tiny_pipeline, seed=seed) for seed in (1, 2)]
    runs = [tiny_run(tiny_pipeline, method="base"), *(Changes().of(run) for run in runs)]
    planned = plan_arms(runs, Changes())
    assert [(one.run.method, one.run.seed) for one in planned] == [("vader", 1)]
    assert planned[0].video == (4, 8, 8)
    assert planned[0].decoded == 4


def test_several_cards_share_the_videos_and_not_the_weights(tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline)  # two videos a batch
    one, two = (plan_arms([run], Changes(), devices)[0].estimate for devices in (1, 2))
    assert two.memory.kept == one.memory.kept / 2
    assert two.memory.weights == one.memory.weights
    assert (two.flops, two.look) == (one.flops, one.look)


def test_arms_may_differ_in_their_suites(tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline)
    checkpointed = Changes(memory={"checkpointing": True}).of(run).model_copy(update={"arm": "checkpointed"})
    plain, saving = plan_arms([run, checkpointed], Changes())
    assert (plain.estimate.method, saving.estimate.method) == ("vader", "checkpointed")
    assert saving.estimate.memory.kept < 0.8 * plain.estimate.memory.kept


def test_more_steps_with_gradient_keep_more(tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline)
    one, two = (plan_arms([run], Changes(settings={"k": k}))[0].estimate for k in (1, 2))
    assert two.memory.kept > 1.5 * one.memory.kept
    assert two.flops > one.flops


@pytest.mark.slow
def test_what_is_advised_makes_a_run_that_has_it(tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline, settings={"batch_size": 2, "accumulation": 3})
    planned = plan_arms([run], Changes())[0]
    said = advised([list(switches(planned, TINY))])
    assert said == {
        "evaluation_batch": 1,
        "methods": {"vader": {"batch_size": 1, "accumulation": 6}},
        "decode_frames": 1,
        "memory": {"frozen_weights": "bfloat16", "checkpointing": True},
    }
    small = with_switches(run, said)
    assert small.settings.round_queries == run.settings.round_queries == 6
    assert small.suite.memory == MemoryConfig(frozen_weights="bfloat16", checkpointing=True)
    assert (small.suite.evaluation_batch, small.suite.decode_frames) == (1, 1)
    assert plan_arms([small], Changes())[0].estimate.most == list(switches(planned, TINY))[-1].memory


def test_a_switch_that_one_arm_needs_all_have() -> None:
    memory = Memory(0, 0, 0, 0)
    first = [Switched("a", memory, {"memory": {"slicing": True}})]
    second = [Switched("b", memory, {"memory": {"checkpointing": True}, "decode_frames": 1})]
    both = {"memory": {"slicing": True, "checkpointing": True}, "decode_frames": 1}
    assert advised([first, [], second]) == both


@pytest.mark.slow
def test_every_switch_saves_on_top_of_those_before_until_it_fits(tiny_pipeline: Path) -> None:
    planned = plan_arms([tiny_run(tiny_pipeline)], Changes())[0]
    found = list(switches(planned, TINY))
    assert [switch.name for switch in found] == [
        "one video at a look", "smallest batch", "one decoded frame", "half precision", "checkpointing",
    ], "a single frame has no slices"  # fmt: skip
    totals = [planned.estimate.most.total, *(switch.memory.total for switch in found)]
    assert totals == sorted(totals, reverse=True)
    on = {"frozen_weights": "bfloat16", "checkpointing": True}
    kept, moved = (
        plan_arms([tiny_run(tiny_pipeline)], Changes(memory=memory, batch=1, decode_frames=1))[
            0
        ].estimate.memory
        for memory in (on, on | {"offload_activations": True})
    )
    assert moved.kept < kept.kept
    assert 0 <= kept.total - moved.total < 0.005 * kept.total, "what comes back weighs as much: no advice"
    card = Gpu((totals[1] + RESERVE) / 2**20, 1, 1, 1)
    assert [switch.name for switch in switches(planned, card)] == ["one video at a look"]


@pytest.mark.slow
def test_what_is_on_already_is_no_advice(tiny_pipeline: Path) -> None:
    memory = frozen_weights("fp16") | {"checkpointing": True}
    changes = Changes(memory=memory, batch=1, decode_frames=1)
    planned = plan_arms([tiny_run(tiny_pipeline)], changes)[0]
    assert planned.precision == "fp16"
    assert {switch.name for switch in switches(planned, TINY)} <= {
        "one video at a look",
        "slicing",
        "tiles",
        "activations on the CPU",
    }


def test_the_smallest_batch_of_pairs_is_a_pair(tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline, method="diffusion-dpo", settings={"batch_size": 2})
    planned = plan_arms([run], Changes())[0]
    assert [switch.name for switch in switches(planned, TINY)][1] == "half precision"


def test_an_unknown_precision_is_refused() -> None:
    assert frozen_weights(None) == {}
    with pytest.raises(UserError, match=r"precision 'fp8': is not known; choose one of: fp32, fp16, bf16"):
        frozen_weights("fp8")
