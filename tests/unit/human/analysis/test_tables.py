"""Tables of a study: the numbers of the analysis, the paper's beside them, and answers without names."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest

from tests.support.built import ingest, made_study
from vader_bench.human.analysis.estimates import analyse_study
from vader_bench.human.analysis.tables import (
    CSV_COLUMNS,
    RESPONSE_COLUMNS,
    agreement_table,
    flow_table,
    habits_table,
    paper_share,
    ranking_table,
    responses_csv,
    table2,
    table2_csv,
)
from vader_bench.human.rehearsal.raters import even_raters, prefer
from vader_bench.human.rehearsal.simulate import simulate
from vader_bench.stats.preference import wilson

BUILT = made_study(prompts=30, responses=60)
POPULATION = prefer(even_raters(1, BUILT.arms, ["text", "quality"]), "vader", 0.75)
ANSWERS = [
    one.model_copy(update={"unused": ["gold (results.csv:1)"]} if number == 0 else {})
    for number, one in enumerate(simulate(BUILT, POPULATION, 15))
]
INGESTED = ingest(BUILT, ANSWERS)
ANALYSIS = analyse_study(INGESTED, BUILT)
PAPERS = replace(ANALYSIS, paper=True)
"""The same as the paper's own study."""


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_papers_shares_have_wilsons_interval() -> None:
    text, quality = paper_share("text"), paper_share("quality")
    assert text is not None
    assert quality is not None
    assert (text.question, text.answers, text.share) == ("text alignment", 100, wilson(61, 100))
    assert (quality.question, quality.share) == ("fidelity", wilson(79, 100))
    assert [round(100 * limit, 1) for limit in (quality.share.low, quality.share.high)] == [70.0, 85.8]
    assert paper_share("motion") is None


def test_the_table_for_programs_has_the_numbers_of_the_analysis() -> None:
    table = rows(table2_csv(ANALYSIS))
    assert tuple(table[0]) == CSV_COLUMNS
    for row, one in zip(table, ANALYSIS.outcomes, strict=True):
        share = one.main.share
        assert (row["data"], row["question"]) == ("SIMULATED", one.question)
        assert (row["first"], row["second"]) == (one.first, one.second)
        assert row["primary"] == ("yes" if one.question == "quality" else "")
        assert [int(row[key]) for key in ("wins", "losses", "answers")] == [
            share.wins, share.losses, share.responses,
        ]  # fmt: skip
        assert int(row["answers"]) < int(row["all_answers"]) == int(row["wanted"]) == 60
        assert [float(row[f"share{end}"]) for end in ("", "_low", "_high")] == pytest.approx(
            [share.clustered.value, share.clustered.low, share.clustered.high]
        )
        assert float(row["p_holm"]) == pytest.approx(one.main.p_holm)
        assert row["interval"] == "two-way clustered"
        assert row["paper_share"] == row["paper_models"] == ""
    for row in rows(table2_csv(PAPERS)):
        assert float(row["paper_share"]) == {"text": 0.61, "quality": 0.79}[row["question"]]


def test_the_table_for_reading_says_the_same() -> None:
    table = table2(ANALYSIS)
    assert table.title.startswith("SIMULATED: ")
    for row, one in zip(table.rows, ANALYSIS.outcomes, strict=True):
        cells = dict(zip(table.head, row, strict=True))
        value = one.main.share.clustered
        assert cells["question, arms"] == f"{one.question}: {one.first} over {one.second}"
        written = f"{100 * value.value:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"
        assert cells["share of the first [95 %]"] == written
        assert cells["answers"] == f"{one.main.share.responses} of 60"
    assert not any("paper" in title for title in table.head)
    papers = table2(PAPERS)
    assert papers.head == [*table.head, "paper, other models: VADER over ModelScope"]
    assert papers.rows[1] == [*table.rows[1], "fidelity 79.0 % [70.0, 85.8]"]


def test_flow_and_agreement_are_reported() -> None:
    flow = dict(flow_table(ANALYSIS).rows)
    assert flow["rows read"] == str(len(ANSWERS) + 1)
    assert flow["refused: unknown block"] == "1"
    assert (flow["left out (for one reason or several)"], flow["left out for: gold"]) == ("1", "1")
    assert flow[f"blocks used, by {len(ANSWERS) - 1} raters"] == str(len(ANSWERS) - 1)
    for table in (agreement_table(ANALYSIS), habits_table(ANALYSIS)):
        assert [row[0] for row in table.rows] == [row[0] for row in table2(ANALYSIS).rows]
        assert {len(row) for row in table.rows} == {len(table.head)}
    assert ranking_table(ANALYSIS) is None


def test_rankings_are_reported_with_three_arms_strongest_first() -> None:
    built = made_study(arms=("base", "ddpo", "vader"), responses=60)
    population = prefer(even_raters(1, built.arms, ["text", "quality"]), "vader", 0.85)
    table = ranking_table(analyse_study(ingest(built, simulate(built, population, 20)), built))
    assert table is not None
    assert [row[1] for row in table.rows[::3]] == ["vader", "vader"]


def test_an_arm_that_never_lost_is_in_the_table_with_the_reason() -> None:
    built = made_study(arms=("base", "ddpo", "vader"), responses=60)
    nobody = even_raters(1, built.arms, ["text", "quality"])
    population = prefer(replace(nobody, lapse=0.0), "vader", 0.9999)
    table = ranking_table(analyse_study(ingest(built, simulate(built, population, 20)), built))
    assert table is not None
    assert [row[1] for row in table.rows[::3]] == ["vader", "vader"]
    assert re.fullmatch(r"not estimable: never lost in 1\d\d answers", table.rows[0][2])
    assert {row[1] for row in table.rows} == {"base", "ddpo", "vader"}
    assert len(table.rows) == 6


def test_every_answer_is_there_without_a_name_a_time_or_a_screen() -> None:
    text = responses_csv(INGESTED, BUILT, ANALYSIS)
    table = rows(text)
    assert tuple(table[0]) == RESPONSE_COLUMNS
    assert len(table) == 2 * sum(len(items) for items in BUILT.key.blocks.values())
    counting = [row for row in table if row["counts"] == "1"]
    for one in ANALYSIS.outcomes:
        own = [row for row in counting if row["question"] == one.question]
        assert len(own) == one.main.share.responses
        assert sum(row["chosen"] == one.first for row in own) == one.main.share.wins
    assert {row["role"] for row in counting} == {"main"}
    assert {row["left_out_for"] for row in table if row["counts"] == "0"} == {"", "gold"}
    assert {row["chosen"] for row in table if row["role"] == "gold"} == {""}
    for secret in (*(one.rater for one in ANSWERS), "2000-01-01", "1280", str(BUILT.key.blocks)):
        assert secret not in text.replace(",SIMULATED", "")
    assert {row["rater"] for row in table} == {f"rater-{n}" for n in range(1, 16)}


def test_of_a_persons_answers_to_the_same_pair_one_counts() -> None:
    built = made_study(prompts=10, responses=60)  # six answers a prompt, three of them with the same sides
    population = prefer(even_raters(1, built.arms, ["text", "quality"]), "vader", 0.75)
    answers = [one.model_copy(update={"rater": "a"}) for one in simulate(built, population, 9)]
    ingested = ingest(built, answers)
    analysis = analyse_study(ingested, built)
    assert analysis.flow.later > 0
    counting = [row for row in rows(responses_csv(ingested, built, analysis)) if row["counts"] == "1"]
    for one in analysis.outcomes:
        own = [row for row in counting if row["question"] == one.question]
        assert len(own) == one.main.share.responses
        assert sum(row["chosen"] == one.first for row in own) == one.main.share.wins


def test_the_order_of_answers_does_not_tell_when_they_came() -> None:
    late = ingest(BUILT, ANSWERS[::-1])
    assert responses_csv(late, BUILT, ANALYSIS) == responses_csv(INGESTED, BUILT, ANALYSIS)


def test_a_prompt_that_looks_like_a_formula_is_only_text() -> None:
    blocks = {
        name: [item.model_copy(update={"prompt": "=1+" + item.prompt}) for item in items]
        for name, items in BUILT.key.blocks.items()
    }
    key = BUILT.key.model_copy(update={"blocks": blocks})
    built = type(BUILT)(BUILT.folder, BUILT.plan, key)
    table = rows(responses_csv(INGESTED, built, analyse_study(INGESTED, built)))
    assert {row["prompt"][:4] for row in table} == {"'=1+"}
