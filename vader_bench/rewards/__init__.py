"""Rewards: each module is a family and registers itself in ``REWARDS``."""

from __future__ import annotations

from vader_bench.rewards import (
    audience,
    clip,
    closed_form,
    jpeg,
    mix,
    oracle,
    pickscore,
    plugin,
    videomae,
    vjepa,
    yolos,
)
from vader_bench.rewards.base import REWARDS, Judgement, Reward, RewardFactory, make_reward

__all__ = [
    "REWARDS", "Judgement", "Reward", "RewardFactory", "audience", "clip", "closed_form", "jpeg",
    "make_reward", "mix", "oracle", "pickscore", "plugin", "videomae", "vjepa", "yolos",
]  # fmt: skip
