"""Statistics of records: aggregates, intervals, comparisons. Needs no torch."""

from __future__ import annotations

from vader_bench.stats.bootstrap import LEVEL, RESAMPLES, Estimate, Resampler, Sampled
from vader_bench.stats.compare import Pair, compare_pairs, find_winner, holm
from vader_bench.stats.headline import BASELINES, Analysis, Arm, Band, analyse
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
    "Estimate",
    "Pair",
    "Panel",
    "Resampler",
    "Sampled",
    "analyse",
    "build_panel",
    "compare_pairs",
    "find_winner",
    "holm",
    "run_curve",
]
