"""A method at its bench: all that it may use, metered."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from vader_bench import files
from vader_bench.budget.ledger import Meter
from vader_bench.budget.metering import FlopTable, MeteredBackbone, MeteredReward
from vader_bench.config.schema import RunConfig
from vader_bench.methods import METHODS, Method, Workbench
from vader_bench.seeding import torch_stream
from vader_bench.training.load import Components
from vader_bench.world import ALONE, World

__all__ = ["make_method"]


def make_method(
    config: RunConfig,
    components: Components,
    meter: Meter,
    prompts: Iterator[str],
    device: str,
    world: World = ALONE,
) -> Method:
    """Return the method of ``config``, ready to spend; all it can spend is charged to ``meter``."""
    kind, sampler = METHODS.get(config.method), config.suite.sampler
    assert isinstance(config.settings, kind.Config), "settings are those of the method"
    flops = FlopTable(meter, _networks(config, components, config.settings.lora_rank))
    bench = Workbench(
        backbone=MeteredBackbone(components.backbone, meter, flops, world),
        reward=MeteredReward(components.reward, meter, flops, world),
        prompts=prompts,
        steps=sampler.steps,
        eta=sampler.eta,
        guidance=components.backbone.guidance(sampler.guidance, sampler.guidance_2),
        decode_frames=config.suite.decode_frames,
        device=device,
        stream=partial(torch_stream, config.seed),
        optimizer=config.suite.memory.optimizer,
        half_precision=config.suite.memory.frozen_weights != "float32",
        world=world,
    )
    return kind(config.settings, bench)


def _networks(config: RunConfig, components: Components, rank: int) -> str:
    """Return what the FLOPs of a run's calls depend on: its networks and how they are run."""
    suite = config.suite.model_dump(mode="json", include={"backbone", "memory"})
    reward = config.suite.rewards[config.reward].model_dump(mode="json")
    return files.canonical_json({**suite, "reward": reward, "rank": rank, "digests": components.digests})
