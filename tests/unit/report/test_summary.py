from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.results import Invented, write_results
from vader_bench.report.curves import frame_csv
from vader_bench.report.documents import sections, summary_markdown
from vader_bench.report.load import Results, load_results
from vader_bench.report.summary import (
    arm_names,
    overview_table,
    pairs_frame,
    pairs_table,
    statistics_tables,
    summary_frame,
)
from vader_bench.stats import Analysis

ARMS = ["base", "best-of-2", "best-of-4", "vader", "ddpo", "diffusion-dpo"]


Rows = dict[tuple[str, str], dict[str, Any]]


def _rows(results: Results, analyses: dict[str, Analysis]) -> Rows:
    rows = summary_frame(results, analyses).to_dict("records")
    return {(row["reward"], row["method"]): {str(k): v for k, v in row.items()} for row in rows}


@pytest.fixture(scope="module")
def rows(results: Results, analyses: dict[str, Analysis]) -> Rows:
    return _rows(results, analyses)


@pytest.fixture
def holed(tmp_path: Path) -> Results:
    """Results without any run of ddpo or of the base model on red, and without any on blue."""
    world = Invented(methods=("vader", "ddpo"), seeds=(0, 1))
    skip = [*(f"{m}-blue-seed{s}" for m in ("base", "vader", "ddpo") for s in (0, 1)), "base-red-seed0"]
    skip += ["ddpo-red-seed0", "ddpo-red-seed1"]
    return load_results(write_results(tmp_path, world, skip=skip), allow_missing=True)


def test_one_row_a_reward_and_method(rows: Rows) -> None:
    assert list(rows) == [(reward, arm) for reward in ("red", "blue") for arm in ARMS]


def test_every_statistic_has_its_limits(rows: Rows) -> None:
    columns = rows["red", "base"]
    values = [c for c in columns if f"{c}_low" in columns]
    assert len(values) == 23
    assert all(f"{c}_high" in columns for c in values)


def test_numbers_are_those_of_the_analysis(rows: Rows, analyses: dict[str, Analysis]) -> None:
    arm = analyses["red"].arm("vader")
    assert arm is not None
    gain, row = arm.statistics["gain"], rows["red", "vader"]
    assert [float(row[c]) for c in ("gain", "gain_low", "gain_high")] == pytest.approx(
        [gain.value, gain.low, gain.high]
    )
    assert row["aggregate"] == "mean"
    assert (row["seeds"], row["prompts"]) == (3, 6)
    assert row["winner"] == "yes"


def test_spending_is_the_ledgers(rows: Rows) -> None:
    row = rows["red", "vader"]
    assert (row["reward_queries"], row["gradient_queries"], row["flops"]) == ("64", "64", "6.4e+10")
    assert rows["red", "ddpo"]["gradient_queries"] == "0"
    assert rows["red", "best-of-2"]["reward_queries"] == ""


def test_not_reached_is_said_in_the_file(rows: Rows) -> None:
    assert rows["red", "ddpo"]["queries_to_threshold"] == "not reached"
    assert rows["red", "ddpo"]["queries_speed_up"] == "not reached"


def test_untrained_rows_leave_what_they_do_not_have_empty(rows: Rows) -> None:
    row = rows["red", "best-of-4"]
    assert float(row["heldout_reward"]) > float(rows["red", "base"]["heldout_reward"])
    assert row["gain"] == row["gain_low"] == ""


def test_missing_runs_are_missing_in_every_table(holed: Results) -> None:
    found = holed.analyses()
    rows = _rows(holed, found)
    assert rows["red", "ddpo"]["heldout_reward"] == "missing"
    assert rows["red", "best-of-2"]["heldout_reward"] == "missing"
    assert rows["red", "vader"]["margin_over_best_of"] == "missing"
    assert float(rows["red", "vader"]["gain"]) > 0
    assert {row["heldout_reward"] for (reward, _), row in rows.items() if reward == "blue"} == {"missing"}
    overview = {row[0]: row[1:] for row in overview_table(holed, found).rows}
    assert overview["ddpo"] == ["missing", "missing"]
    assert overview["vader"][0] != "missing"
    text = summary_markdown(holed, found, sections(holed, found), [])
    assert "## blue\n\n* missing\n" in text
    assert "| ddpo | missing |" in text


def test_pairs_as_a_file(analyses: dict[str, Analysis]) -> None:
    pairs = pairs_frame(analyses).to_dict("records")
    assert len(pairs) == 6
    first: dict[Any, Any] = pairs[0]
    assert (first["reward"], first["first"], first["second"]) == ("red", "vader", "ddpo")
    assert first["p_value"] <= first["p_holm"]
    assert first["ahead"] == "vader"
    assert (first["wins"], first["seeds"]) == (3, 3)
    assert 0 < first["smallest_difference"] < first["difference"]
    header, row = frame_csv(pairs_frame({"red": analyses["red"]})).splitlines()[:2]
    told = dict(zip(header.split(","), row.split(","), strict=True))
    assert (told["wins"], told["seeds"], told["ahead"]) == ("3", "3", "vader")
    assert told["difference"] == f"{first['difference']:.9g}"


def test_pairs_for_reading(analyses: dict[str, Analysis]) -> None:
    table = pairs_table(analyses["red"].pairs)
    assert table.rows[0][0] == "vader - ddpo"
    assert table.rows[0][-2] == "vader"
    assert all(len(row) == len(table.head) for row in table.rows)


def test_tables_leave_out_empty_rows_and_columns(results: Results, analyses: dict[str, Analysis]) -> None:
    tables = {table.title: table for table in statistics_tables(results, analyses["red"])}
    assert [row[0] for row in tables["Reward at equal budget"].rows] == ARMS
    assert [row[0] for row in tables["Generalisation"].rows] == ARMS[3:]
    assert "gain, new nouns" not in tables["Generalisation"].head
    assert "gain, new compositions" in tables["Generalisation"].head
    assert all(len(row) == len(t.head) for t in tables.values() for row in t.rows)


def test_rows_without_an_analysis_come_from_the_experiment(results: Results) -> None:
    assert arm_names(results, None) == ARMS


def test_markdown_has_findings_tables_and_notes(results: Results, analyses: dict[str, Analysis]) -> None:
    text = summary_markdown(results, analyses, sections(results, analyses), ["a note"])
    assert text.startswith("# fig7 on tiny\n\nWhich method")
    assert "* vader is ahead at 64 reward queries" in text
    assert "### Pairs of methods" in text
    assert text.endswith("* a note\n")
    rows = [line for line in text.splitlines() if line.startswith("| vader |")]
    assert len(rows) == 1 + 2 * 4


def test_without_a_baseline_there_is_no_table_about_its_reward(tmp_path: Path) -> None:
    alone = load_results(write_results(tmp_path, Invented(rewards=("red",), methods=("vader",))))
    titles = [table.title for table in statistics_tables(alone, alone.analyses()["red"])]
    assert "Reward at equal budget" in titles
    assert not [title for title in titles if "baseline" in title]
