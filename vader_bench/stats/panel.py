"""Records of one reward as arrays whose axes are checked to mean the same for every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from vader_bench.config.names import ADAPTER, BASE, HELDOUT, UNTRAINED
from vader_bench.config.schema import EvaluationConfig
from vader_bench.errors import UserError
from vader_bench.records.record import Evaluation, Record
from vader_bench.stats.adapters import beside
from vader_bench.stats.aggregate import FloatArray

__all__ = [
    "AXES", "BaseScores", "Measured", "Panel", "SplitScores", "build_panel", "complete_seeds", "run_curve",
]  # fmt: skip

AXES = ("queries", "flops", "device_seconds")
"""What a run can spend."""


Video: TypeAlias = tuple[str, int]
"""A prompt and the index of its evaluation noise."""

Measured: TypeAlias = Literal["reward", "gold", "prompt_share"]
"""What is measured of a video."""

_Scores: TypeAlias = dict[str, list[float]]


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
    looks = [[_by_queries(record, HELDOUT) for record in row] for row in grid]
    videos = _shared_videos(list(looks[0][0].values()))
    base, flat = next((r for r in records if r.method == BASE), None), [m in fixed for m in present]
    curve = _curve(looks, videos, "reward")
    assert curve is not None  # every video has a reward
    gold_curve = _curve(looks, videos, "gold")
    return Panel(
        suite=records[0].suite,
        reward=records[0].reward,
        methods=tuple(present),
        baselines=tuple(row[0].label in baselines if baselines else row[0].baseline for row in grid),
        adapters=tuple(method in fixed for method in present),
        seeds=tuple(complete),
        prompts=_prompts(videos),
        curve=_flattened(curve, flat),
        gold_curve=None if gold_curve is None else _flattened(gold_curve, flat),
        spent={axis: _spent(looks, axis) for axis in AXES},
        splits=_splits(grid, videos),
        diversity=_diversity(looks),
        base=None if base is None else _base_scores(base, _prompts(videos)),
    )


def run_curve(record: Record) -> list[tuple[Evaluation, float]]:
    """Return a run's held-out looks in order of queries, each with its mean reward.

    The mean is over the videos that were judged at every look, every prompt with the same weight, so that
    no step in the curve comes from a change of videos. Of what is not trained, which is looked at once, those
    videos count that a method is looked at with on its way.

    Raises:
        UserError: the run has no held-out look, or two after the same queries.
    """
    looks = list(_by_queries(record, HELDOUT).values())
    videos = _shared_videos(looks)
    if record.method in UNTRAINED:
        asked = EvaluationConfig.model_validate(record.config["evaluation"])
        along = _prompts(videos)[: asked.prompts]
        videos = [video for video in videos if video[0] in along and video[1] < asked.curve_samples]
    means = [_means(look, videos) for look in looks]
    return [(look, float(np.mean(values))) for look, values in zip(looks, means, strict=True) if values]


def _by_queries(record: Record, split: str) -> dict[int, Evaluation]:
    found = [e for e in record.evaluations if e.split == split]
    by_queries = {e.queries: e for e in sorted(found, key=lambda e: e.queries)}
    if not found:
        raise UserError(
            f"record {record.name}",
            f"has no evaluation of split {split!r}",
            f"name {split!r} in the experiment's evaluation.splits and final_splits, and run it again",
        )
    if len(by_queries) != len(found):
        raise UserError(
            f"record {record.name}",
            f"has two evaluations of split {split!r} after the same queries",
            "delete the run's folder and run it again",
        )
    return by_queries


def _scores(evaluation: Evaluation, videos: Sequence[Video], which: Measured = "reward") -> _Scores | None:
    """Return the scores of ``videos`` by prompt, in their order; ``None`` where one is missing."""
    found: dict[Video, float | None] = {(s.prompt, s.sample): getattr(s, which) for s in evaluation.scores}
    scores: _Scores = {}
    for video in videos:
        value = found[video]
        if value is None:
            return None
        scores.setdefault(video[0], []).append(value)
    return scores


def _means(evaluation: Evaluation, videos: Sequence[Video], which: Measured = "reward") -> list[float] | None:
    """Return the mean score of each prompt over its ``videos``; ``None`` where one is missing."""
    scores = _scores(evaluation, videos, which)
    return None if scores is None else [float(np.mean(values)) for values in scores.values()]


def _shared_videos(evaluations: Sequence[Evaluation]) -> list[Video]:
    """Return the videos that every one of ``evaluations`` has, in the order of the first."""
    sets = [{(score.prompt, score.sample) for score in e.scores} for e in evaluations]
    first = [(score.prompt, score.sample) for score in evaluations[0].scores]
    shared = [video for video in first if all(video in others for others in sets)]
    if not shared:
        split = evaluations[0].split
        remedy = "judge the first prompts of the split at every look"
        raise UserError(f"split {split!r}", "has no video that was judged at every look", remedy)
    return shared


def _prompts(videos: Sequence[Video]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(prompt for prompt, _ in videos))


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


def _curve(
    looks: list[list[dict[int, Evaluation]]], videos: Sequence[Video], which: Measured
) -> FloatArray | None:
    """Return [M, T, S, P]; ``None`` where a score is missing."""
    values = [[[_means(e, videos, which) for e in run.values()] for run in row] for row in looks]
    if any(means is None for row in values for run in row for means in run):
        return None
    return np.asarray(values, dtype=np.float64).swapaxes(1, 2)


def _flattened(curve: FloatArray, adapters: Sequence[bool]) -> FloatArray:
    """Return ``curve`` [M, T, S, P], with adapters that were not trained here at their level throughout."""
    rows = np.asarray(adapters)
    curve[rows, 0] = curve[rows, -1]
    return curve


def _spent(looks: list[list[dict[int, Evaluation]]], axis: str) -> FloatArray:
    """Return [M, T, S]."""
    values = [[[float(getattr(e, axis)) for e in run.values()] for run in row] for row in looks]
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
        found[name] = _split_scores(ends, curve if name == HELDOUT else _shared_videos(ends[0][0]))
    return found


def _ends(record: Record, split: str) -> list[Evaluation]:
    """Return the first and the last evaluation of ``split``."""
    looks = list(_by_queries(record, split).values())
    return [looks[0], looks[-1]]


def _both_ends(record: Record, split: str) -> bool:
    first, last = _ends(record, split)
    return first.queries == 0 and last.queries > 0


def _split_scores(ends: list[list[list[Evaluation]]], videos: Sequence[Video]) -> SplitScores:
    reward = _at_ends(ends, videos, "reward")
    assert reward is not None  # every video has one
    return SplitScores(
        prompts=_prompts(videos),
        reward=reward,
        gold=_at_ends(ends, videos, "gold"),
        prompt_share=_at_ends(ends, videos, "prompt_share"),
    )


def _at_ends(
    ends: list[list[list[Evaluation]]], videos: Sequence[Video], which: Measured
) -> FloatArray | None:
    """Return [M, 2, S, Q]; ``None`` where a score is missing."""
    means = [[[_means(e, videos, which) for e in run] for run in row] for row in ends]
    if any(scores is None for row in means for run in row for scores in run):
        return None
    return np.asarray(means, dtype=np.float64).swapaxes(1, 2)


def _diversity(looks: list[list[dict[int, Evaluation]]]) -> FloatArray | None:
    values = [[list(run.values())[-1].diversity for run in row] for row in looks]
    if any(value is None for row in values for value in row):
        return None
    return np.asarray(values, dtype=np.float64)


def _base_scores(record: Record, prompts: Sequence[str]) -> BaseScores:
    evaluation = next(iter(_by_queries(record, HELDOUT).values()))
    videos = [video for video in _shared_videos([evaluation]) if video[0] in prompts]
    reward, gold, share = (_scores(evaluation, videos, which) for which in get_args(Measured))
    assert reward is not None  # every video has one
    if set(reward) != set(prompts):
        remedy = "run base and methods with the same prompts"
        raise UserError(f"record {record.name}", "lacks held-out prompts that methods were judged on", remedy)
    if len({len(scores) for scores in reward.values()}) != 1:
        wrong = "has a different number of samples for different prompts"
        raise UserError(f"record {record.name}", wrong, "delete the run's folder and run it again")
    sizes = EvaluationConfig.model_validate(record.config["evaluation"]).best_of
    return BaseScores(
        prompts=tuple(reward),
        reward=_as_array(reward),
        gold=None if gold is None else _as_array(gold),
        prompt_share=None if share is None else _as_array(share),
        diversity=evaluation.diversity,
        best_of=tuple(n for n in sizes if n > 1),
    )


def _as_array(scores: _Scores) -> FloatArray:
    """Return [Q, n]."""
    return np.asarray(list(scores.values()), dtype=np.float64)
