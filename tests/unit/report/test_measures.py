"""Tables and findings of further measures: there where the records have them, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.results import Invented, write_results
from vader_bench.records.record import Extension, FrontierPoint, Record
from vader_bench.report.course_figure import draw_course
from vader_bench.report.documents import sections, summary_latex
from vader_bench.report.load import Results, load_results
from vader_bench.report.measures import findings, measure_tables
from vader_bench.report.paper import PAPER, paper_table
from vader_bench.report.tables import Table
from vader_bench.stats import Analysis
from vader_bench.stats.looks import looks_of

Change = Callable[[Record], dict[str, Any]]


def changed(results: Results, change: Change) -> Results:
    """Return the results with fields of every record replaced."""
    found = {name: record.model_copy(update=change(record)) for name, record in results.records.items()}
    return replace(results, records=found)


def along(record: Record) -> dict[str, Any]:
    """Return looks at which VADER's reward rises while its truth falls, with a divergence."""
    last = max(look.queries for look in record.evaluations)
    looks = []
    for look in record.evaluations:
        share = look.queries / last if record.method == "vader" and last else 0.0
        update = {"gold": 0.9 - 0.5 * share, "prompt_share": 0.8}
        scores = [score.model_copy(update=update) for score in look.scores]
        looks.append(look.model_copy(update={"scores": scores, "path_kl": 10 * share, "motion": 0.1}))
    return {"evaluations": looks}


def judged(record: Record) -> dict[str, Any]:
    looks = []
    for look in record.evaluations:
        scores = [score.model_copy(update={"others": {"sharp": 2 * score.reward}}) for score in look.scores]
        looks.append(look.model_copy(update={"scores": scores}))
    return {"evaluations": looks}


def scaled(record: Record) -> dict[str, Any]:
    if record.method == "base":
        return {}
    return {"frontier": [FrontierPoint(scale=s, look=looks_of(record)[-1]) for s in (0.0, 1.0)]}


def longer(record: Record) -> dict[str, Any]:
    down = 0.0 if record.method == "base" else 0.3 + 0.001 * record.seed
    return {"extensions": [Extension(prompt=p, rewards=[1.0, 1.0 - down]) for p in ("a", "b")]}


def costly(record: Record) -> dict[str, Any]:
    return {} if record.method == "base" else {"peak_bytes": (1 + (record.method == "ddpo")) * 2**20}


def only(results: Results) -> Table:
    (table,) = measure_tables(results, "red")
    assert all(len(row) == len(table.head) for row in table.rows)
    return table


def test_plain_results_have_no_further_tables(results: Results) -> None:
    assert measure_tables(results, "red") == []
    assert findings(results, "red") == []
    assert draw_course(results, {}) is None


def test_other_judges_are_columns(results: Results) -> None:
    table = only(changed(results, judged))
    assert table.head == ["", "red (trained on)", "sharp"]
    assert [row[0] for row in table.rows] == ["vader", "ddpo", "diffusion-dpo"]
    own, other = (float(cell.partition(" ")[0]) for cell in table.rows[0][1:])
    assert other == pytest.approx(2 * own, abs=0.02)


def test_a_course_has_a_row_a_look_and_names_over_optimisation(
    results: Results, analyses: dict[str, Analysis]
) -> None:
    found = changed(results, along)
    table = only(found)
    assert [row[:2] for row in table.rows[:5]] == [
        ["vader", "0"], ["", "16"], ["", "32"], ["", "48"], ["", "64"],
    ]  # fmt: skip
    assert len(table.rows) == 3 * 5
    [said] = findings(found, "red")
    assert said == (
        "First look at which the reward has risen and the truth that it imitates has fallen, both by "
        "interval (over-optimised): after 16 queries vader."
    )
    drawn = draw_course(found, analyses)
    assert drawn is not None
    assert drawn["png"].startswith(b"\x89PNG")
    assert b"<svg" in drawn["svg"]


def test_all_arms_that_depart_from_the_prompt_have_one_sentence(results: Results) -> None:
    """The share of VADER's prompts falls from the first look on, those of the others from the third."""

    def departing(record: Record) -> dict[str, Any]:
        from_queries = 16 if record.method == "vader" else 48
        looks = []
        for look in record.evaluations:
            share = 0.2 if look.queries >= from_queries else 0.8
            scores = [score.model_copy(update={"prompt_share": share}) for score in look.scores]
            looks.append(look.model_copy(update={"scores": scores, "path_kl": 1.0, "motion": 0.1}))
        return {"evaluations": looks}

    [said] = findings(changed(results, departing), "red")
    assert said == (
        "First look at which the reward has risen and the share of the prompt that the oracle sees has "
        "fallen, both by interval (departs from the prompt): after 16 queries vader; after 48 queries ddpo "
        "and diffusion-dpo."
    )


def test_scales_are_rows(results: Results) -> None:
    table = only(changed(results, scaled))
    assert [row[:2] for row in table.rows[:2]] == [["vader", "0"], ["", "1"]]


def test_longer_videos_show_the_base_model_too(results: Results) -> None:
    found = changed(results, longer)
    table = only(found)
    assert [row[0] for row in table.rows if row[0]] == ["base", "vader", "ddpo", "diffusion-dpo"]
    assert "the reward falls along the chunks" in findings(found, "red")[0]


def test_costs_are_shares_of_the_first_arm(results: Results) -> None:
    table = only(changed(results, costly))
    memory = {row[0]: row[-1] for row in table.rows}
    assert memory == {
        "vader": "1.0 MiB (1.00)", "ddpo": "2.0 MiB (2.00)", "diffusion-dpo": "1.0 MiB (1.00)",
    }  # fmt: skip


def test_costs_are_put_together_over_seeds_like_rewards(tmp_path: Path) -> None:
    """With five seeds by the interquartile mean: one run that was disturbed moves neither time nor memory."""
    world = Invented(rewards=("red",), methods=("vader",), seeds=range(5))

    def disturbed(record: Record) -> dict[str, Any]:
        ledger = {**record.ledger, "device_seconds": 900.0 if record.seed == 3 else 9.0}
        return {"ledger": ledger, "peak_bytes": (64 if record.seed == 3 else 1) * 2**20}

    found = only(changed(load_results(write_results(tmp_path, world)), disturbed))
    assert found.rows == [["vader", "9 s (1.00)", "64 GFLOP (1.00)", "1.0 MiB (1.00)"]]


def test_an_arm_without_the_measure_has_no_rows(results: Results) -> None:
    found = changed(results, lambda record: {} if record.method == "ddpo" else scaled(record))
    assert [row[0] for row in only(found).rows if row[0]] == ["vader", "diffusion-dpo"]


def test_sections_hold_further_tables_and_findings(results: Results, analyses: dict[str, Analysis]) -> None:
    found = changed(results, along)
    red, blue = sections(found, {"red": analyses["red"]})
    assert red.tables[-1].title == "Along the budget"
    assert "over-optimised" in red.findings[-1]
    assert (blue.findings, blue.tables) == (["missing"], [])


def test_all_tables_are_in_latex(results: Results, analyses: dict[str, Analysis]) -> None:
    said = sections(results, analyses)
    text = summary_latex(results, analyses, said)
    shown = sum(len(section.tables) for section in said) + 1
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == shown
    assert r"\label{tab:fig7-red-0}" in text


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_tables_are_whole(name: str) -> None:
    table = paper_table(name)
    assert table is not None
    assert "paper" in table.title
    assert all(len(row) == len(table.head) for row in table.rows)
    assert paper_table(None) is None
