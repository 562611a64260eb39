"""Statistics of records: aggregates, intervals, comparisons. Needs no torch."""

from __future__ import annotations

from vader_bench.stats.adapters import beside
from vader_bench.stats.agreement import Agreement, Consistency, measure_agreement, measure_consistency
from vader_bench.stats.bootstrap import LEVEL, RESAMPLES, Estimate, Resampler, Sampled
from vader_bench.stats.compare import MethodComparison, compare_pairs, find_winner, holm
from vader_bench.stats.headline import Analysis, ArmSummary, Band, Target, analyse
from vader_bench.stats.measures import Course, Drift, FrontierRow, course, drift, frontier, transfer
from vader_bench.stats.panel import AXES, Panel, build_panel, run_curve
from vader_bench.stats.power import (
    Design,
    SampleSize,
    Variation,
    plan_design,
    responses_needed,
    simulate_power,
)
from vader_bench.stats.preference import Preference, Response, Share, compare_preferences, side_bias
from vader_bench.stats.ranking import Ranking, rank_arms

__all__ = [
    "AXES",
    "LEVEL",
    "RESAMPLES",
    "Agreement",
    "Analysis",
    "ArmSummary",
    "Band",
    "Consistency",
    "Course",
    "Design",
    "Drift",
    "Estimate",
    "FrontierRow",
    "MethodComparison",
    "Panel",
    "Preference",
    "Ranking",
    "Resampler",
    "Response",
    "SampleSize",
    "Sampled",
    "Share",
    "Target",
    "Variation",
    "analyse",
    "beside",
    "build_panel",
    "compare_pairs",
    "compare_preferences",
    "course",
    "drift",
    "find_winner",
    "frontier",
    "holm",
    "measure_agreement",
    "measure_consistency",
    "plan_design",
    "rank_arms",
    "responses_needed",
    "run_curve",
    "side_bias",
    "simulate_power",
    "transfer",
]
