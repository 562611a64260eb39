"""Which videos are looked at, and when: fixed by the configuration, the same for every method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from vader_bench.config.names import ADAPTER, BASE, HELDOUT, UNTRAINED
from vader_bench.config.schema import RunConfig
from vader_bench.records.record import Evaluation

__all__ = ["Look", "curve_mean", "looks", "looks_of_curve", "scaled_looks", "video_count"]


@dataclass(frozen=True)
class Look:
    """Videos of one split at one moment of a run."""

    queries: int
    """Reward queries spent before."""
    split: str
    prompts: int
    """At most this many prompts, the first ones of the split."""
    samples: int
    """Videos per prompt."""
    scale: float = 1.0
    """Of the adapters; looks at other scales are no part of the curve."""


def looks(config: RunConfig) -> list[Look]:
    """Return every look of a run, in order of queries, then in the order of the configured splits.

    Before training and at the end these are the final splits, with ``samples`` videos of each held-out
    prompt and one of every other; in between the fewer prompts of ``splits``, with ``samples_along``
    videos of each held-out prompt. The base model is looked at once, with as many held-out videos as the
    largest best-of-N takes; so are adapters that are not trained here, at all videos of all of these looks.
    """
    evaluation = config.evaluation
    if config.method == BASE:
        return _final(config, 0, max(evaluation.best_of))
    if config.method == ADAPTER:
        return _at_once(config)
    found = []
    for queries in range(0, config.reward_queries + 1, evaluation.every):
        if queries in {0, config.reward_queries}:
            found += _final(config, queries, evaluation.samples)
        else:
            found += [
                Look(
                    queries,
                    split,
                    evaluation.prompts,
                    evaluation.measure.samples_along if split == HELDOUT else 1,
                )
                for split in evaluation.splits
            ]
    return found


def looks_of_curve(config: RunConfig) -> list[Look]:
    """Return the looks that decide which videos the points of a run's curve are of: all of them.

    Of what is not trained, which is looked at once, those videos count that a method is looked at with on its
    way.
    """
    if config.method not in UNTRAINED:
        return looks(config)
    evaluation = config.evaluation
    return [*looks(config), Look(0, HELDOUT, evaluation.prompts, evaluation.curve_samples)]


def scaled_looks(config: RunConfig) -> list[Look]:
    """Return the looks at the trained adapters scaled: 0 is the base model, 1 what was trained.

    Scaling goes from the one through the other and beyond, with one training. A prompt has as many videos
    as at every look along the training.
    """
    asked = config.evaluation
    scales = [] if config.method == BASE else asked.measure.lora_scales
    return [
        Look(config.reward_queries, HELDOUT, asked.final_prompts, asked.curve_samples, scale)
        for scale in scales
    ]


def _final(config: RunConfig, queries: int, samples: int) -> list[Look]:
    """Return the looks at the final splits, with ``samples`` videos of each held-out prompt."""
    prompts = config.evaluation.final_prompts
    return [
        Look(queries, split, prompts, samples if split == HELDOUT else 1)
        for split in config.evaluation.final_splits
    ]


def _at_once(config: RunConfig) -> list[Look]:
    """Return a look at each split, with every video of it that a training is ever looked at with."""
    asked = config.evaluation
    prompts = dict.fromkeys([*asked.final_splits, *asked.splits], 0)
    for splits, count in ((asked.final_splits, asked.final_prompts), (asked.splits, asked.prompts)):
        prompts |= {split: max(prompts[split], count) for split in splits}
    samples = max(asked.samples, asked.measure.samples_along)
    return [Look(0, split, count, samples if split == HELDOUT else 1) for split, count in prompts.items()]


def video_count(look: Look, available: int) -> int:
    """Return the number of videos of ``look`` when its split has ``available`` prompts."""
    return min(look.prompts, available) * look.samples


def curve_mean(evaluation: Evaluation, planned: Sequence[Look]) -> float:
    """Return the mean reward over those videos of ``evaluation`` that every look at its split has.

    This is the point of the curve: looks of different size are compared on the same videos.

    Args:
        evaluation: one look that was taken.
        planned: the looks that decide it; see ``looks_of_curve``.
    """
    alike = [look for look in planned if look.split == evaluation.split]
    prompts = list(dict.fromkeys(score.prompt for score in evaluation.scores))
    shared = set(prompts[: min(look.prompts for look in alike)])
    samples = min(look.samples for look in alike)
    return fmean(s.reward for s in evaluation.scores if s.prompt in shared and s.sample < samples)
