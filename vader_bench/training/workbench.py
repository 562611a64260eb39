"""A method at its bench: all that it may use, metered."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from vader_bench.budget.ledger import Meter
from vader_bench.budget.metering import MeteredBackbone, MeteredReward
from vader_bench.config.schema import RunConfig
from vader_bench.methods import METHODS, Method, Workbench
from vader_bench.seeding import torch_stream
from vader_bench.training.load import Components

__all__ = ["make_method"]


def make_method(
    config: RunConfig, components: Components, meter: Meter, prompts: Iterator[str], device: str
) -> Method:
    """Return the method of ``config``, ready to spend; all it can spend is charged to ``meter``."""
    kind, sampler = METHODS.get(config.method), config.suite.sampler
    bench = Workbench(
        backbone=MeteredBackbone(components.backbone, meter),
        reward=MeteredReward(components.reward, meter),
        prompts=prompts,
        steps=sampler.steps,
        eta=sampler.eta,
        guidance=sampler.guidance,
        decode_frames=config.suite.decode_frames,
        device=device,
        stream=partial(torch_stream, config.seed),
        optimizer=config.suite.memory.optimizer,
    )
    assert isinstance(config.settings, kind.Config), "settings are those of the method"
    return kind(config.settings, bench)
