"""Held-out looks of runs as arrays over seeds and prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np

from vader_bench.config.names import HELDOUT
from vader_bench.records.record import Evaluation, Record, VideoScore
from vader_bench.stats.aggregate import FloatArray

__all__ = ["ScoreOf", "heldout_looks", "scores_by_prompt", "shared_videos"]

ScoreOf: TypeAlias = Callable[[VideoScore], float | None]
"""What is read off a video; ``None`` where it was not measured."""


def heldout_looks(record: Record) -> list[Evaluation]:
    """Return the looks of a run at held-out prompts, in order of queries."""
    found = [look for look in record.evaluations if look.split == HELDOUT]
    return sorted(found, key=lambda look: look.queries)


def shared_videos(looks: Iterable[Evaluation]) -> set[tuple[str, int]]:
    """Return the videos, prompt and sample, that all of ``looks`` have."""
    return set.intersection(*({(s.prompt, s.sample) for s in look.scores} for look in looks))


def scores_by_prompt(
    looks: Sequence[Evaluation], score: ScoreOf, videos: set[tuple[str, int]]
) -> tuple[tuple[str, ...], FloatArray | None]:
    """Return the P prompts of ``videos`` and the mean scores [L, P] of L ``looks`` over them.

    The scores are ``None`` where one was not measured.
    """
    prompts = tuple(dict.fromkeys(s.prompt for s in looks[0].scores if (s.prompt, s.sample) in videos))
    rows = []
    for look in looks:
        found: dict[str, list[float | None]] = {prompt: [] for prompt in prompts}
        for scored in look.scores:
            if (scored.prompt, scored.sample) in videos:
                found[scored.prompt].append(score(scored))
        if any(value is None for values in found.values() for value in values):
            return prompts, None
        rows.append([float(np.mean([v for v in values if v is not None])) for values in found.values()])
    return prompts, np.asarray(rows, dtype=np.float64)
