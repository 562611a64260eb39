"""Models trained against a reward, and their videos: what the next round of that reward learns from."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from itertools import cycle
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vader_bench.backbones import Backbone
from vader_bench.budget.ledger import Budget, Meter
from vader_bench.budget.metering import FlopTable, MeteredBackbone, MeteredReward
from vader_bench.methods import Workbench
from vader_bench.methods.vader import Vader, VaderConfig
from vader_bench.pretrain.bases import SAMPLER_STEPS, Request, sample
from vader_bench.rewards import Reward
from vader_bench.seeding import torch_stream

__all__ = ["Attack", "Glance", "attack"]

_ETA, _GUIDANCE, _DECODED = 1.0, 1.0, 2
"""As in the suites."""


class Attack(NamedTuple):
    """How a model is trained against a reward, by VADER with one step of gradient."""

    rate: float
    """Step size."""
    seed: int
    """No experiment's: those count from 1."""
    looks: Sequence[int]
    """Queries after which videos are sampled, in rising order; the last ends the training."""


class Glance(NamedTuple):
    """What a model makes after some queries."""

    queries: int
    videos: NDArray[np.uint8]
    """[N, F, H, W, 3], one a prompt asked."""


class _Free(FlopTable):
    """Says that no call costs anything: nobody asks for it here, and to count takes seconds."""

    def cost(self, kind: Hashable, call: Callable[[Tensor], Tensor], batch: Tensor) -> tuple[int, int]:
        """Return nothing for forward and backward."""
        del kind, call, batch
        return 0, 0


def attack(
    backbone: Backbone, reward: Reward, how: Attack, trained: Sequence[str], asked: Sequence[str]
) -> Iterator[Glance]:
    """Train adapters in ``backbone`` to raise ``reward``, and yield videos on the way.

    The backbone is the base model again at the end.

    Args:
        backbone: without adapters.
        reward: what is raised; frozen.
        how: see ``Attack``.
        trained: prompts to train on, in turn.
        asked: prompts to sample.
    """
    meter = Meter(Budget(reward_queries=how.looks[-1]))
    free = _Free(meter)
    bench = Workbench(
        backbone=MeteredBackbone(backbone, meter, free),
        reward=MeteredReward(reward, meter, free),
        prompts=cycle(trained),
        steps=SAMPLER_STEPS,
        eta=_ETA,
        guidance=_GUIDANCE,
        decode_frames=_DECODED,
        device="cpu",
        stream=partial(torch_stream, how.seed),
    )
    method = Vader(VaderConfig(learning_rate=how.rate), bench)
    for queries in how.looks:
        while meter.ledger.reward_queries < queries:
            method.step(queries - meter.ledger.reward_queries)
        yield Glance(queries, sample(backbone, Request(asked, ("attack", how.seed, queries))))
    method.lora.remove()
