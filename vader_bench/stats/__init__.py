"""Statistics of records: aggregates, intervals, comparisons. Needs no torch."""

from __future__ import annotations

from vader_bench.stats.bootstrap import LEVEL, RESAMPLES, Estimate, Resampler, Sampled
from vader_bench.stats.compare import Pair, compare_pairs, find_winner, holm
from vader_bench.stats.headline import BASELINES, Analysis, Arm, Band, Target, analyse
from vader_bench.stats.measures import Course, Drift, FrontierRow, course, drift, frontier, transfer
from vader_bench.stats.panel import AXES, HELDOUT, Panel, build_panel, run_curve

__all__ = [
    "AXES",
    "BASELINES",
    "HELDOUT",
    "LEVEL",
    "RESAMPLES",
    "Analysis",
    "Arm",
    "Band",
    "Course",
    "Drift",
    "Estimate",
    "FrontierRow",
    "Pair",
    "Panel",
    "Resampler",
    "Sampled",
    "Target",
    "analyse",
    "build_panel",
    "compare_pairs",
    "course",
    "drift",
    "find_winner",
    "frontier",
    "holm",
    "run_curve",
    "transfer",
]
