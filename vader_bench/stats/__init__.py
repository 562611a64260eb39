"""Statistics of records: aggregates, intervals, comparisons. Needs no torch."""

from __future__ import annotations

from vader_bench.stats.adapters import beside
from vader_bench.stats.agreement import Agreement, Consistency, measure_agreement, measure_consistency
from vader_bench.stats.bootstrap import LEVEL, RESAMPLES, Estimate, Resampler, Sampled
from vader_bench.stats.compare import MethodComparison, compare_pairs, find_winner, holm
from vader_bench.stats.headline import Analysis, ArmSummary, Band, Target, analyse
from vader_bench.stats.measures import Course, Drift, FrontierRow, course, drift, frontier, transfer
from vader_bench.stats.overoptimisation import BestOf, Fit, Law, best_of_points, cloud, fit_law
from vader_bench.stats.panel import AXES, Panel, build_panel, complete_seeds, run_curve
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
from vader_bench.stats.stopping import RULES, Choice, Kind, Stopped, Trail, choose, judge, trails

__all__ = [
    "AXES",
    "LEVEL",
    "RESAMPLES",
    "RULES",
    "Agreement",
    "Analysis",
    "ArmSummary",
    "Band",
    "BestOf",
    "Choice",
    "Consistency",
    "Course",
    "Design",
    "Drift",
    "Estimate",
    "Fit",
    "FrontierRow",
    "Kind",
    "Law",
    "MethodComparison",
    "Panel",
    "Preference",
    "Ranking",
    "Resampler",
    "Response",
    "SampleSize",
    "Sampled",
    "Share",
    "Stopped",
    "Target",
    "Trail",
    "Variation",
    "analyse",
    "beside",
    "best_of_points",
    "build_panel",
    "choose",
    "cloud",
    "compare_pairs",
    "compare_preferences",
    "complete_seeds",
    "course",
    "drift",
    "find_winner",
    "fit_law",
    "frontier",
    "holm",
    "judge",
    "measure_agreement",
    "measure_consistency",
    "plan_design",
    "rank_arms",
    "responses_needed",
    "run_curve",
    "side_bias",
    "simulate_power",
    "trails",
    "transfer",
]
