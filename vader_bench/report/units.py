"""What the numbers of a reward are, in as few words as an axis holds."""

from __future__ import annotations

from vader_bench.config.schema import ComponentConfig, SuiteConfig
from vader_bench.report.load import Results

__all__ = ["UNITS", "gold_unit", "reward_unit"]

UNITS = {
    "action": "probability",
    "action-verdict": "share of videos",
    "actor-constancy": "share of frames",
    "aesthetic": "rating",
    "audience-rating": "rating",
    "audience-utility": "rating and points",
    "book-absence": "share of frames",
    "brightness": "luma in [0, 1]",
    "colourfulness": "colourfulness",
    "hps": "cosine",
    "hpsv3": "score",
    "http": "as the server says",
    "jpeg-compressibility": "-kB a frame",
    "judges-appeal": "rating and points",
    "mix": "weighted sum",
    "object-removal": "1 - confidence",
    "oracle": "share of the prompt",
    "pickscore": "scaled cosine",
    "redness": "in [-1, 1]",
    "temporal-consistency": "-L1 of features",
    "videoalign": "standard deviations",
}
"""By family. The classes say it in full; they need torch, which a report does without."""


def reward_unit(results: Results, reward: str) -> str:
    """Return the unit of ``reward``; empty where it is not known, as of a reward of the user's."""
    return _unit(_suite(results, reward).rewards.get(reward))


def gold_unit(results: Results, reward: str) -> str:
    """Return the unit of the truth of ``reward``; empty where it is not known."""
    return _unit(_suite(results, reward).gold_for(reward))


def _suite(results: Results, reward: str) -> SuiteConfig:
    return results.of(reward)[0].asked.suite


def _unit(component: ComponentConfig | None) -> str:
    if component is None:
        return ""
    said = component.settings.get("units")  # a plug-in's
    return str(said) if isinstance(said, str) else UNITS.get(component.family, "")
