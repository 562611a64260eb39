"""Rewards: a file each family, and the table of their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vader_bench.registry import Registry, late_names

if TYPE_CHECKING:
    from vader_bench.rewards.base import Judgement, Reward, RewardFactory, make_reward

__all__ = ["REWARDS", "Judgement", "Reward", "RewardFactory", "make_reward"]


def _refusal(found: object) -> str:
    """Return what keeps ``found`` from being a family of rewards: a class, or a function that makes one."""
    from vader_bench.rewards.base import Reward

    fits = issubclass(found, Reward) if isinstance(found, type) else callable(found)
    return "" if fits else "is no subclass of vader_bench.rewards.Reward"


REWARDS: Registry[RewardFactory] = Registry(
    "reward",
    {
        "action": "vader_bench.rewards.videomae:Action",
        "action-verdict": "vader_bench.rewards.oracle:ActionVerdict",
        "actor-constancy": "vader_bench.rewards.oracle:ActorConstancy",
        "aesthetic": "vader_bench.rewards.clip:Aesthetic",
        "audience-rating": "vader_bench.rewards.audience:AudienceRating",
        "audience-utility": "vader_bench.rewards.audience:AudienceUtility",
        "book-absence": "vader_bench.rewards.oracle:BookAbsence",
        "brightness": "vader_bench.rewards.closed_form:Brightness",
        "colourfulness": "vader_bench.rewards.closed_form:Colourfulness",
        "hps": "vader_bench.rewards.clip:HumanPreference",
        "hpsv3": "vader_bench.rewards.hpsv3:HPSv3",
        "http": "vader_bench.rewards.http:HttpReward",
        "jpeg-compressibility": "vader_bench.rewards.jpeg:JpegCompressibility",
        "judges-appeal": "vader_bench.rewards.audience:JudgesAppeal",
        "mix": "vader_bench.rewards.mix:Mix",
        "object-removal": "vader_bench.rewards.yolos:ObjectRemoval",
        "oracle": "vader_bench.rewards.oracle:Oracle",
        "pickscore": "vader_bench.rewards.pickscore:PickScore",
        "plugin": "vader_bench.rewards.plugin:Plugin",
        "redness": "vader_bench.rewards.closed_form:Redness",
        "temporal-consistency": "vader_bench.rewards.vjepa:TemporalConsistency",
        "videoalign": "vader_bench.rewards.videoalign:VideoAlign",
    },
    group="vader_bench.rewards",
    refusal=_refusal,
)
"""Reward families by the name that suite files use: classes, or functions of the suite's settings."""

__getattr__ = late_names(__name__, __all__)
