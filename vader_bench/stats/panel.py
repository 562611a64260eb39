"""Records of one reward as arrays whose axes are checked to mean the same for every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, TypeAlias, get_args

import numpy as np

from vader_bench.config.names import ADAPTER, BASE, HELDOUT, UNTRAINED
from vader_bench.errors import UserError
from vader_bench.records.record import Evaluation, Record
from vader_bench.stats.adapters import beside
from vader_bench.stats.aggregate import FloatArray, expected_best
from vader_bench.stats.looks import (
    Video,
    looks_of,
    prompts_of,
    scores_by_prompt,
    shared_videos,
    video_scores,
)

__all__ = [
    "AXES", "MEASURED", "BaseScores", "Measured", "Panel", "SplitScores", "build_panel", "complete_seeds",
    "run_curve",
]  # fmt: skip

AXES = ("queries", "flops", "device_seconds")
"""What a run can spend."""


Measured: TypeAlias = Literal["reward", "gold", "prompt_share"]
"""What is measured of a video."""
MEASURED: tuple[Measured, ...] = get_args(Measured)

_Grid: TypeAlias = Sequence[Sequence[Sequence[Evaluation]]]
"""Looks [M][S][T], the same number of every run."""


@dataclass(frozen=True, kw_only=True)
class SplitScores:
    """One split before training and at the end, over the same prompts."""

    prompts: tuple[str, ...]
    reward: FloatArray
    """[M, 2, S, Q]: method, start or end, seed, prompt; mean over the samples of a prompt."""
    gold: FloatArray | None
    """The same of the reward's truth; ``None`` where a score is missing."""
    prompt_share: FloatArray | None
    """The same of the share of the prompt; ``None`` where a score is missing."""


@dataclass(frozen=True, kw_only=True)
class BaseScores:
    """Many samples of the untrained model for each held-out prompt of the curve."""

    prompts: tuple[str, ...]
    reward: FloatArray
    """[Q, n]."""
    gold: FloatArray | None
    """[Q, n]; ``None`` where a score is missing."""
    prompt_share: FloatArray | None
    """[Q, n]; ``None`` where a score is missing."""
    diversity: float | None
    best_of: tuple[int, ...]
    """The sizes N above 1 for which best-of-N is asked."""

    def added_by_best(self, count: int, what: Measured) -> FloatArray | None:
        """Return what choosing the best of ``count`` videos by reward adds, [Q]; ``None`` if not measured."""
        values: FloatArray | None = getattr(self, what)
        return None if values is None else expected_best(self.reward, values, count) - values.mean(axis=-1)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """All runs on one reward; M methods, S seeds, T looks, P prompts."""

    suite: str
    reward: str
    methods: tuple[str, ...]
    """Those with records, in the experiment's order; of an experiment with named arms, the arms."""
    baselines: tuple[bool, ...]
    """Whether each of ``methods`` is a baseline: the best final reward of those is the threshold for all."""
    adapters: tuple[bool, ...]
    """Whether each of ``methods`` is adapters that were not trained here: they spend nothing, their curve is
    flat, and every seed has the same numbers."""
    seeds: tuple[int, ...]
    """Those that every one of ``methods`` that is trained has finished."""
    prompts: tuple[str, ...]
    """Held-out prompts judged at every look."""
    curve: FloatArray
    """[M, T, S, P]; mean over the videos of a prompt that were judged at every look."""
    gold_curve: FloatArray | None
    """The same of the reward's truth; ``None`` where a score is missing."""
    spent: dict[str, FloatArray]
    """[M, T, S] for each of ``AXES``; the queries are the same for all methods and seeds."""
    splits: dict[str, SplitScores]
    """The splits judged both before training and at the end; the held-out one on the videos of the curve, so
    that its end and the end of the curve are one number."""
    diversity: FloatArray | None
    """[M, S], held-out at the end; ``None`` where it was not measured."""
    base: BaseScores | None

    @property
    def looks(self) -> FloatArray:
        """Return the reward queries [T] at which every run was looked at."""
        return self.spent["queries"][0, :, 0]

    @property
    def own_truth(self) -> bool:
        """Whether the reward is its own truth, as a formula is: every score is that of the truth."""
        return self.gold_curve is not None and np.array_equal(self.curve, self.gold_curve)


def complete_seeds(records: Sequence[Record], methods: Sequence[str], seeds: Sequence[int]) -> list[int]:
    """Return the seeds that numbers on one reward are of, in the order of ``seeds``.

    A seed counts only where every method that has any record has finished it, so that methods stay paired.
    What is not trained has no seeds of its own.
    """
    runs = {(record.label, record.seed) for record in records if record.method not in UNTRAINED}
    trained = [m for m in methods if any((m, seed) in runs for seed in seeds)]
    return [seed for seed in seeds if trained and all((m, seed) in runs for m in trained)]


def build_panel(
    records: Sequence[Record],
    methods: Sequence[str],
    seeds: Sequence[int],
    baselines: Sequence[str] = (),
) -> Panel | None:
    """Return the panel of ``records``, all of one reward; ``None`` where no seed is complete.

    Its seeds are the ``complete_seeds``; a method without any record is left out. Adapters that were not
    trained here have one record for all seeds; see ``beside``. With no ``baselines`` named, records say which
    they are.

    Raises:
        UserError: two records were looked at after different queries, or on other prompts.
    """
    fixed = {record.label: record for record in records if record.method == ADAPTER}
    runs = {(record.label, record.seed): record for record in records if record.method not in UNTRAINED}
    complete = complete_seeds(records, methods, seeds)
    if not complete:
        return None
    trained = [m for m in methods if (m, complete[0]) in runs]
    present = [m for m in methods if m in fixed or m in trained]
    like = runs[trained[0], complete[0]]
    grid = [
        [beside(fixed[method], like) if method in fixed else runs[method, seed] for seed in complete]
        for method in present
    ]
    _require_alike([record for row in grid for record in row])
    looks = [[looks_of(record) for record in row] for row in grid]
    videos = shared_videos(looks[0][0])
    base, flat = next((r for r in records if r.method == BASE), None), [m in fixed for m in present]
    curve = _by_prompt(looks, videos, "reward")
    assert curve is not None  # every video has a reward
    gold_curve = _by_prompt(looks, videos, "gold")
    return Panel(
        suite=records[0].suite,
        reward=records[0].reward,
        methods=tuple(present),
        baselines=tuple(row[0].label in baselines if baselines else row[0].baseline for row in grid),
        adapters=tuple(method in fixed for method in present),
        seeds=tuple(complete),
        prompts=prompts_of(videos),
        curve=_flattened(curve, flat),
        gold_curve=None if gold_curve is None else _flattened(gold_curve, flat),
        spent={axis: _spent(looks, axis) for axis in AXES},
        splits=_splits(grid, videos),
        diversity=_diversity(looks),
        base=None if base is None else _base_scores(base, prompts_of(videos)),
    )


def run_curve(record: Record) -> list[tuple[Evaluation, float]]:
    """Return a run's held-out looks in order of queries, each with its mean reward.

    The mean is over the videos that were judged at every look, every prompt with the same weight, so that
    no step in the curve comes from a change of videos. Of what is not trained, which is looked at once, those
    videos count that a method is looked at with on its way.

    Raises:
        UserError: the run has no held-out look, or two after the same queries.
    """
    looks = looks_of(record)
    videos = shared_videos(looks)
    if record.method in UNTRAINED:
        asked = record.asked.evaluation
        along = prompts_of(videos)[: asked.prompts]
        videos = [video for video in videos if video[0] in along and video[1] < asked.curve_samples]
    _, means = scores_by_prompt(looks, attrgetter("reward"), videos)
    assert means is not None  # every video has a reward
    return [(look, float(row.mean())) for look, row in zip(looks, means, strict=True) if len(row)]


def _require_alike(records: Sequence[Record]) -> None:
    """Refuse runs that were not looked at after the same queries, on the same prompts and samples."""
    first, wanted = records[0], _videos(records[0])
    for record in records[1:]:
        videos = _videos(record)
        if videos.keys() != wanted.keys():
            odd = min(videos.keys() ^ wanted.keys())
            wrong = f"and {first.name} differ: one alone was judged on {odd[0]!r} after {odd[1]} queries"
        elif videos != wanted:
            odd = min(key for key in videos if videos[key] != wanted[key])
            wrong = f"was judged on other {odd[0]!r} videos than {first.name} after {odd[1]} queries"
        else:
            continue
        remedy = "run both with the same prompts, budget and evaluation settings"
        raise UserError(f"record {record.name}", wrong, remedy)


def _videos(record: Record) -> dict[tuple[str, int], list[Video]]:
    """Return which videos were judged, by split and queries."""
    return {(e.split, e.queries): [(s.prompt, s.sample) for s in e.scores] for e in record.evaluations}


def _by_prompt(looks: _Grid, videos: Sequence[Video], which: Measured) -> FloatArray | None:
    """Return the means of prompts over their ``videos``, [M, T, S, P]; ``None`` where a score is missing."""
    every = [look for row in looks for run in row for look in run]
    prompts, means = scores_by_prompt(every, attrgetter(which), videos)
    if means is None:
        return None
    return means.reshape(len(looks), len(looks[0]), -1, len(prompts)).swapaxes(1, 2)


def _flattened(curve: FloatArray, adapters: Sequence[bool]) -> FloatArray:
    """Return ``curve`` [M, T, S, P], with adapters that were not trained here at their level throughout."""
    rows = np.asarray(adapters)
    curve[rows, 0] = curve[rows, -1]
    return curve


def _spent(looks: _Grid, axis: str) -> FloatArray:
    """Return [M, T, S]."""
    values = [[[float(getattr(look, axis)) for look in run] for run in row] for row in looks]
    return np.asarray(values).swapaxes(1, 2)


def _splits(grid: list[list[Record]], curve: Sequence[Video]) -> dict[str, SplitScores]:
    """Return the splits judged before training and after it; held-out, one of them, on ``curve``."""
    first = grid[0][0]
    names = [name for name in dict.fromkeys(e.split for e in first.evaluations) if _both_ends(first, name)]
    if HELDOUT not in names:
        wrong = f"has no evaluation of split {HELDOUT!r} both before training and at the end"
        raise UserError(f"record {first.name}", wrong, "delete the run's folder and run it again")
    found = {}
    for name in names:
        ends = [[_ends(record, name) for record in row] for row in grid]
        found[name] = _split_scores(ends, curve if name == HELDOUT else shared_videos(ends[0][0]))
    return found


def _ends(record: Record, split: str) -> list[Evaluation]:
    """Return the first and the last evaluation of ``split``."""
    looks = looks_of(record, split)
    return [looks[0], looks[-1]]


def _both_ends(record: Record, split: str) -> bool:
    first, last = _ends(record, split)
    return first.queries == 0 and last.queries > 0


def _split_scores(ends: _Grid, videos: Sequence[Video]) -> SplitScores:
    reward = _by_prompt(ends, videos, "reward")
    assert reward is not None  # every video has one
    return SplitScores(
        prompts=prompts_of(videos),
        reward=reward,
        gold=_by_prompt(ends, videos, "gold"),
        prompt_share=_by_prompt(ends, videos, "prompt_share"),
    )


def _diversity(looks: _Grid) -> FloatArray | None:
    values = [[run[-1].diversity for run in row] for row in looks]
    if any(value is None for row in values for value in row):
        return None
    return np.asarray(values, dtype=np.float64)


def _base_scores(record: Record, prompts: Sequence[str]) -> BaseScores:
    look = looks_of(record)[0]
    videos = [video for video in shared_videos([look]) if video[0] in prompts]
    reward, gold, share = (video_scores(look, attrgetter(which), videos) for which in MEASURED)
    assert reward is not None  # every video has one
    if set(reward) != set(prompts):
        remedy = "run base and methods with the same prompts"
        raise UserError(f"record {record.name}", "lacks held-out prompts that methods were judged on", remedy)
    if len({len(scores) for scores in reward.values()}) != 1:
        wrong = "has a different number of samples for different prompts"
        raise UserError(f"record {record.name}", wrong, "delete the run's folder and run it again")
    return BaseScores(
        prompts=tuple(reward),
        reward=_as_array(reward),
        gold=None if gold is None else _as_array(gold),
        prompt_share=None if share is None else _as_array(share),
        diversity=look.diversity,
        best_of=tuple(n for n in record.asked.evaluation.best_of if n > 1),
    )


def _as_array(scores: Mapping[str, Sequence[float]]) -> FloatArray:
    """Return [Q, n]."""
    return np.asarray(list(scores.values()), dtype=np.float64)
