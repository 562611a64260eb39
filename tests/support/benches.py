"""A workbench on the tiny random model, with a closed-form reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from vader_bench.backbones import Backbone
from vader_bench.budget.ledger import Budget, Meter
from vader_bench.budget.metering import MeteredBackbone, MeteredReward
from vader_bench.methods import METHODS, Method, Workbench
from vader_bench.rewards.base import Judgement, Reward
from vader_bench.seeding import torch_stream

PROMPTS = [f"a {colour} cat" for colour in ("red", "blue", "green", "pink", "white", "black", "grey")]


class RedReward(Reward):
    """How much redder than blue a video is, mean over pixels and frames: in [-1, 1]."""

    name = "red"
    units = "difference of mean intensities"
    value_range = (-1.0, 1.0)
    source = "closed form"
    by_frame = True

    def __init__(self, frames: int | None = None, differentiable: bool = True) -> None:
        self.frames = frames
        self.differentiable = differentiable

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, F, 3, H, W]."""
        assert len(prompts) == len(video)
        score = (video[:, :, 0] - video[:, :, 2]).mean(dim=(1, 2, 3))
        return Judgement(score, score)


class PromptCycle:
    """The prompts over and over, with a position that can be set back."""

    def __init__(self) -> None:
        self.position = 0

    def __iter__(self) -> PromptCycle:
        return self

    def __next__(self) -> str:
        self.position += 1
        return PROMPTS[(self.position - 1) % len(PROMPTS)]


@dataclass
class Stand:
    """A workbench with what lies behind it."""

    bench: Workbench
    backbone: Backbone
    meter: Meter
    prompts: PromptCycle

    def method(self, name: str, **settings: Any) -> Method:
        """Return the method ``name`` with ``settings`` on this bench."""
        kind = METHODS.get(name)
        return kind(kind.Config(**settings), self.bench)


MakeBench = Callable[..., Stand]


def make_stand(
    backbone: Backbone, reward: Reward | None = None, *, queries: int = 64, seed: int = 0, **changes: Any
) -> Stand:
    """Return a workbench with 4 sampler steps, eta 1 and no guidance, unless ``changes`` say otherwise."""
    meter, prompts = Meter(Budget(reward_queries=queries)), PromptCycle()
    settings: dict[str, Any] = {
        "steps": 4,
        "eta": 1.0,
        "guidance": 1.0,
        "decode_frames": None,
        "device": "cpu",
    }
    bench = Workbench(
        backbone=MeteredBackbone(backbone, meter),
        reward=MeteredReward(reward or RedReward(), meter),
        prompts=prompts,
        stream=partial(torch_stream, seed),
        **(settings | changes),
    )
    return Stand(bench, backbone, meter, prompts)
