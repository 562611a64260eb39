"""Records as curves: one row a point."""

from __future__ import annotations

import pandas as pd

from vader_bench.report.load import Results
from vader_bench.report.words import number
from vader_bench.stats import run_curve

__all__ = ["COLUMNS", "curves_frame", "frame_csv"]

COLUMNS = (
    "suite", "reward", "method", "seed", "queries", "flops", "device_seconds", "reward_mean",
)  # fmt: skip


def curves_frame(results: Results) -> pd.DataFrame:
    """Return the held-out curves of all trained runs, columns ``COLUMNS``, one row a look.

    ``flops`` and ``device_seconds`` are what the run had spent by then; ``reward_mean`` is the mean score
    by the training reward over the held-out videos judged at every look. Rows are ordered by reward and
    method as in the experiment, then by seed and queries. Runs with seeds that are not complete, which
    tables and figures leave out, are there too.
    """
    rows = [
        (record.suite, reward, method, record.seed, look.queries, look.flops, look.device_seconds, mean)
        for reward in results.experiment.rewards
        for method in results.methods
        for record in sorted(results.of(reward, method), key=lambda record: record.seed)
        for look, mean in run_curve(record)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def frame_csv(frame: pd.DataFrame) -> str:
    """Return ``frame`` as CSV; floats have nine significant digits, so that equal runs give equal bytes."""
    text = frame.map(lambda value: number(value) if isinstance(value, float) else value)
    return str(text.to_csv(index=False, lineterminator="\n"))
