"""Samples of one prompt, which are compared with each other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from vader_bench.methods.base import Method, MethodConfig

__all__ = ["GroupConfig", "GroupSamples", "group_advantages", "sample_groups"]

_EPSILON = 1e-4
"""Added to a standard deviation, as in the code of Flow-GRPO and DiffusionNFT."""


class GroupConfig(MethodConfig):
    """Hyper-parameters of a method whose rounds have several videos of each prompt."""

    prompts_per_round: int = Field(default=4, ge=1)
    """Prompts sampled between two rounds of updates."""
    samples_per_prompt: int = Field(default=4, ge=1)
    """Videos per prompt and round; a round takes ``prompts_per_round`` times as many queries."""

    @property
    def round_queries(self) -> int:
        """Return the videos between two rounds of updates."""
        return self.prompts_per_round * self.samples_per_prompt


class GroupSamples(NamedTuple):
    """V videos, those of a prompt one after another."""

    prompts: list[str]
    encoded: Tensor
    """Conditions [V, L, D]."""
    clean: Tensor
    """Latents [V, C, F, h, w]."""
    scores: Tensor
    """[V]."""


@torch.no_grad()
def sample_groups(method: Method, videos: int, each: int) -> GroupSamples:
    """Sample and judge ``videos`` videos, ``each`` of a prompt; costs as many queries.

    Args:
        method: whose model samples, ``batch_size`` videos at a time.
        videos: the last prompt may have fewer than ``each``.
        each: videos of a prompt.
    """
    backbone, prompts = method.bench.backbone, method.next_groups(videos, each)
    frames, parts, first = method.choose_frames(), [], 0
    for count in method.batches(videos):
        own, noise = prompts[first : first + count], method.noise(count)
        encoded = backbone.encode(own)
        clean = method.sampler.plain(noise(), encoded, backbone.unconditional(encoded), noise)
        parts.append((encoded, clean, method.judge(clean, own, frames).score))
        first += count
    return GroupSamples(prompts, *(torch.cat(part) for part in zip(*parts, strict=True)))


def group_advantages(scores: Tensor, size: int, global_deviation: bool) -> Tensor:
    """Return how far each score [V] is above the mean of its group, in standard deviations [V].

    Args:
        scores: groups of ``size``, one after another; the last may be smaller. A group of one is at its mean.
        size: videos of a prompt.
        global_deviation: take the standard deviation of all ``scores``, not that of the group.
    """
    whole = scores.std(correction=0)
    return torch.cat(
        [
            (group - group.mean()) / ((whole if global_deviation else group.std(correction=0)) + _EPSILON)
            for group in scores.split(size)
        ]
    )
