"""How this version analyses answers, as a plan fixes it before the first one."""

from __future__ import annotations

from typing import Final

from vader_bench.errors import UserError
from vader_bench.human.plan import AnalysisPlan, StudyPlan
from vader_bench.stats.bootstrap import LEVEL
from vader_bench.stats.preference import (
    ALPHA,
    CLUSTERED,
    CORRECTION,
    FREEDOM,
    MIN_CLUSTERS,
    NO_TEST,
    SIGN,
    TIE,
)

__all__ = ["COUNTED_ONCE", "analysis_plan", "check_method"]

COUNTED_ONCE: Final = ("rater", "question", "prompt", "pair of arms")
"""Of the answers that agree in all of these the first one counts."""


def analysis_plan(tests: int) -> AnalysisPlan:
    """Return how answers are analysed here.

    Args:
        tests: questions times comparisons.
    """
    return AnalysisPlan(
        test=CLUSTERED,
        interval=LEVEL,
        degrees_of_freedom=FREEDOM,
        without_spread=SIGN,
        min_clusters=MIN_CLUSTERS,
        otherwise=NO_TEST,
        alpha=ALPHA,
        correction=CORRECTION,
        tests=tests,
        tie=TIE,
        counted_once=list(COUNTED_ONCE),
    )


def check_method(plan: StudyPlan) -> None:
    """Refuse a plan that fixes another analysis than this version does.

    Raises:
        UserError: it does, with the names of what differs.
    """
    here = analysis_plan(len(plan.questions) * len(plan.comparisons)).model_dump()
    fixed = plan.analysis.model_dump()
    if differing := [name for name in here if here[name] != fixed[name]]:
        wrong = f"fixes another analysis than this version does ({', '.join(differing)})"
        remedy = "analyse the study with the version of vader-bench that built it"
        raise UserError(f"plan {plan.digest[:12]}", wrong, remedy)
