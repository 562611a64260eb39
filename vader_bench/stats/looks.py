"""Looks of runs as arrays over looks and prompts: means over the videos that looks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from vader_bench.config.names import HELDOUT
from vader_bench.errors import UserError
from vader_bench.records.record import Evaluation, Record, VideoScore
from vader_bench.stats.aggregate import FloatArray

__all__ = [
    "ScoreOf", "Video", "common_videos", "looks_of", "prompts_of", "same_videos", "scores_by_prompt",
    "shared_videos", "video_scores",
]  # fmt: skip

ScoreOf: TypeAlias = Callable[[VideoScore], float | None]
"""What is read off a video; ``None`` where it was not measured."""
Video: TypeAlias = tuple[str, int]
"""A prompt and the index of its evaluation noise."""


def looks_of(record: Record, split: str = HELDOUT) -> list[Evaluation]:
    """Return the looks of a run at ``split``, in order of queries.

    Raises:
        UserError: there is none, or there are two after the same queries.
    """
    found = [look for look in record.evaluations if look.split == split]
    if not found:
        raise UserError(
            f"record {record.name}",
            f"has no evaluation of split {split!r}",
            f"name {split!r} in the experiment's evaluation.splits and final_splits, and run it again",
        )
    if len({look.queries for look in found}) != len(found):
        raise UserError(
            f"record {record.name}",
            f"has two evaluations of split {split!r} after the same queries",
            "delete the run's folder and run it again",
        )
    return sorted(found, key=lambda look: look.queries)


def common_videos(looks: Sequence[Evaluation]) -> list[Video]:
    """Return the videos that all of ``looks`` have, in the order of the first; there may be none."""
    sets = [{(score.prompt, score.sample) for score in look.scores} for look in looks]
    first = [(score.prompt, score.sample) for score in looks[0].scores]
    return [video for video in first if all(video in others for others in sets)]


def shared_videos(looks: Sequence[Evaluation]) -> list[Video]:
    """Return the ``common_videos`` of ``looks`` at one split.

    Raises:
        UserError: there are none.
    """
    shared = common_videos(looks)
    if not shared:
        remedy = "judge the first prompts of the split at every look"
        raise UserError(f"split {looks[0].split!r}", "has no video that was judged at every look", remedy)
    return shared


def same_videos(first: Evaluation, second: Evaluation) -> bool:
    """Tell whether two looks judged the same videos, so that one number a look can be compared."""
    one, other = ({(score.prompt, score.sample) for score in look.scores} for look in (first, second))
    return one == other


def prompts_of(videos: Sequence[Video]) -> tuple[str, ...]:
    """Return the prompts of ``videos``, each once, in their order."""
    return tuple(dict.fromkeys(prompt for prompt, _ in videos))


def video_scores(look: Evaluation, score: ScoreOf, videos: Sequence[Video]) -> dict[str, list[float]] | None:
    """Return the scores of ``videos``, which ``look`` has, by prompt; ``None`` where one was not measured."""
    found = {(scored.prompt, scored.sample): score(scored) for scored in look.scores}
    scores: dict[str, list[float]] = {}
    for video in videos:
        value = found[video]
        if value is None:
            return None
        scores.setdefault(video[0], []).append(value)
    return scores


def scores_by_prompt(
    looks: Sequence[Evaluation], score: ScoreOf, videos: Sequence[Video]
) -> tuple[tuple[str, ...], FloatArray | None]:
    """Return the P prompts of ``videos``, which all ``looks`` have, and their mean scores over them, [L, P].

    The scores are ``None`` where one was not measured.
    """
    rows = []
    for look in looks:
        found = video_scores(look, score, videos)
        if found is None:
            return prompts_of(videos), None
        rows.append([float(np.mean(values)) for values in found.values()])
    return prompts_of(videos), np.asarray(rows, dtype=np.float64)
