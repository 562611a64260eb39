"""The analysis is the one that the plan fixed, or none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.built import ingest, made_study
from vader_bench.errors import UserError
from vader_bench.human.analysis import method
from vader_bench.human.analysis.estimates import analyse_study
from vader_bench.human.analysis.method import check_method
from vader_bench.human.plan import Built
from vader_bench.human.rehearsal.raters import even_raters, prefer
from vader_bench.human.rehearsal.simulate import simulate

BUILT = made_study(ties=True)


def fixed(**changes: Any) -> Built:
    """Return the study with another analysis in its plan."""
    analysis = BUILT.plan.analysis.model_copy(update=changes)
    return replace(BUILT, plan=BUILT.plan.model_copy(update={"analysis": analysis}))


def test_what_the_plan_says_is_what_the_analysis_does() -> None:
    said = BUILT.plan.analysis
    population = prefer(even_raters(1, BUILT.arms, ["text", "quality"]), "vader", 0.8)
    answers = simulate(BUILT, replace(population, ties=0.2), 12)
    found = analyse_study(ingest(BUILT, answers), BUILT)
    assert said.tests == len(found.outcomes) == 2
    for one in found.outcomes:
        share = one.main.share
        assert share.test == said.test
        assert min(share.raters, share.prompts) >= said.min_clusters
        assert share.clustered.value == (share.wins + said.tie * share.ties) / share.responses
        assert (one.preferred is not None) == (one.main.p_holm < said.alpha)
    few = analyse_study(ingest(BUILT, answers[: said.min_clusters - 1]), BUILT)
    assert [one.main.share.test for one in few.outcomes] == [said.otherwise] * 2 == ["none"] * 2
    assert [one.preferred for one in few.outcomes] == [None] * 2


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"alpha": 0.1}, "alpha"),
        ({"tests": 1, "tie": 0.0}, "tests, tie"),
        ({"counted_once": ["rater", "question"]}, "counted_once"),
    ],
)
def test_a_plan_that_fixes_another_analysis_is_refused(changes: dict[str, Any], named: str) -> None:
    built = fixed(**changes)
    answers = simulate(built, even_raters(1, built.arms, ["text", "quality"]), 12)
    with pytest.raises(UserError, match=rf"than this version does \({named}\); analyse .* that built it"):
        analyse_study(ingest(built, answers), built)
    check_method(BUILT.plan)


def test_code_that_tests_otherwise_refuses_an_older_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "MIN_CLUSTERS", 5)
    with pytest.raises(UserError, match=r"\(min_clusters\)"):
        check_method(BUILT.plan)
