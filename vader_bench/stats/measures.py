"""What further measures say of one arm: other judges, the course along the budget, scaled adapters, chunks.

Every function takes the records of one arm on one reward, one a seed, made with the same evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vader_bench.records.record import Evaluation, Record
from vader_bench.stats.aggregate import FloatArray
from vader_bench.stats.bootstrap import Estimate, Resampler
from vader_bench.stats.looks import ScoreOf, Video, looks_of, same_videos, scores_by_prompt, shared_videos

__all__ = ["Course", "Drift", "FrontierRow", "course", "drift", "frontier", "transfer"]

NOT_MEASURED = Estimate.none("not measured")
_OTHER_VIDEOS = Estimate.none("of other videos")


@dataclass(frozen=True)
class Course:
    """An arm after some of the budget."""

    queries: int
    gain: Estimate
    """Held-out reward minus that of the base model, on the videos of every look."""
    gold_gain: Estimate
    """The same of the truth that the reward imitates."""
    prompt_share_gain: Estimate
    """The same of the share of the prompt."""
    diversity: Estimate
    motion: Estimate
    path_kl: Estimate
    """Nats a video."""

    @property
    def hacked(self) -> bool:
        """Whether the reward's truth has fallen while the reward has risen, both by interval."""
        return self.gain.above_zero and self.gold_gain.below_zero

    @property
    def off_prompt(self) -> bool:
        """Whether the share of the prompt has fallen while the reward has risen, both by interval."""
        return self.gain.above_zero and self.prompt_share_gain.below_zero


@dataclass(frozen=True)
class FrontierRow:
    """The trained model with its adapters scaled."""

    scale: float
    reward: Estimate
    gold: Estimate
    prompt_share: Estimate
    diversity: Estimate


@dataclass(frozen=True)
class Drift:
    """One chunk of videos that were made longer."""

    chunk: int
    """From 1."""
    reward: Estimate
    change: Estimate
    """The reward minus that of the first chunk."""
    gold_change: Estimate
    prompt_share_change: Estimate


def transfer(records: Sequence[Record]) -> dict[str, Estimate]:
    """Return by judge the gain of its score over the base model at the end, on the videos of every look.

    The judges are the reward trained on (by its name) and all that the experiment named.
    """
    ends, videos = [[look[0], look[-1]] for look in map(looks_of, records)], _videos(records)
    first = ends[0][0].scores[0]
    judges: dict[str, ScoreOf] = {records[0].reward: lambda score: score.reward}
    judges |= {name: lambda score, name=name: score.others[name] for name in first.others}  # type: ignore[misc]
    resampler = _resampler(records)
    return {name: _gains(resampler, ends, score, videos)[-1] for name, score in judges.items()}


def course(records: Sequence[Record]) -> list[Course]:
    """Return the state after each look, the untrained model first."""
    looks, videos = [looks_of(record) for record in records], _videos(records)
    resampler = _resampler(records)
    gains = _gains(resampler, looks, lambda score: score.reward, videos)
    golds = _gains(resampler, looks, lambda score: score.gold, videos)
    shares = _gains(resampler, looks, lambda score: score.prompt_share, videos)
    alike = [same_videos(look, looks[0][0]) for look in looks[0]]

    def along(pick: Callable[[Evaluation], float | None], *, of_all: bool = True) -> list[Estimate]:
        """Return one number a look; none where it is ``of_all`` videos of a look that judged others."""
        return [
            _of_runs(resampler, [pick(look) for look in at]) if same or not of_all else _OTHER_VIDEOS
            for at, same in zip(zip(*looks, strict=True), alike, strict=True)
        ]

    measured = zip(
        along(lambda look: look.diversity),
        along(lambda look: look.motion),
        along(lambda look: look.path_kl, of_all=False),
        strict=True,
    )
    return [
        Course(looks[0][index].queries, gains[index], golds[index], shares[index], *found)
        for index, found in enumerate(measured)
    ]


def frontier(records: Sequence[Record]) -> list[FrontierRow]:
    """Return what was seen at each scale of the adapters, in the order of the scales.

    Scores are those of the videos that were judged at every look and every scale; diversity is of all videos.
    """
    resampler = _resampler(records)
    scaled = [point.look for record in records for point in record.frontier]
    videos = shared_videos([*scaled, *(look for record in records for look in looks_of(record))])
    rows = []
    for points in zip(*(record.frontier for record in records), strict=True):
        looks = [point.look for point in points]
        rows.append(
            FrontierRow(
                points[0].scale,
                _level(resampler, looks, lambda score: score.reward, videos),
                _level(resampler, looks, lambda score: score.gold, videos),
                _level(resampler, looks, lambda score: score.prompt_share, videos),
                _of_runs(resampler, [look.diversity for look in looks]),
            )
        )
    return sorted(rows, key=lambda row: row.scale)


def drift(records: Sequence[Record]) -> list[Drift]:
    """Return each chunk of the longer videos, against the first chunk of the same videos."""
    prompts = [extension.prompt for extension in records[0].extensions]
    rewards = np.asarray([[e.rewards for e in record.extensions] for record in records])  # [S, P, C]
    golds = np.asarray([[e.golds for e in record.extensions] for record in records])
    shares = np.asarray([[e.prompt_shares for e in record.extensions] for record in records])
    resampler = _resampler(records)

    def over(values: FloatArray) -> Estimate:
        return resampler.seeds_and_prompts(values, prompts).estimate()

    def change(values: FloatArray, index: int) -> Estimate:
        return over(values[..., index] - values[..., 0]) if values.shape[-1] else NOT_MEASURED

    return [
        Drift(
            chunk=index + 1,
            reward=over(rewards[..., index]),
            change=change(rewards, index),
            gold_change=change(golds, index),
            prompt_share_change=change(shares, index),
        )
        for index in range(rewards.shape[-1])
    ]


def _resampler(records: Sequence[Record]) -> Resampler:
    return Resampler([record.seed for record in records])


def _videos(records: Sequence[Record]) -> list[Video]:
    """Return the held-out videos that were judged at every look."""
    return shared_videos([look for record in records for look in looks_of(record)])


def _gains(
    resampler: Resampler, looks: Sequence[Sequence[Evaluation]], score: ScoreOf, videos: Sequence[Video]
) -> list[Estimate]:
    """Return for each look the score of ``videos`` minus that of the first look."""
    levels = []
    for at in zip(*looks, strict=True):
        prompts, values = scores_by_prompt(at, score, videos)
        if values is None:
            return [NOT_MEASURED] * len(looks[0])
        levels.append(values)
    return [resampler.seeds_and_prompts(values - levels[0], prompts).estimate() for values in levels]


def _level(
    resampler: Resampler, looks: Sequence[Evaluation], score: ScoreOf, videos: Sequence[Video]
) -> Estimate:
    prompts, values = scores_by_prompt(looks, score, videos)
    return NOT_MEASURED if values is None else resampler.seeds_and_prompts(values, prompts).estimate()


def _of_runs(resampler: Resampler, values: Sequence[float | None]) -> Estimate:
    """Return the estimate of one number a run; without an interval where there is one run."""
    if any(value is None for value in values):
        return NOT_MEASURED
    found = np.asarray(values, dtype=np.float64)
    if len(found) == 1:
        return Estimate(float(found[0]), np.nan, np.nan)
    return resampler.seeds(found).estimate()
