"""The report of an experiment that has adapters from a file among its arms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.support.results import Invented, write_results
from vader_bench.report import Report, build_report
from vader_bench.report.verdicts import verdicts

WORLD = Invented(
    rewards=("red", "blue"),
    methods=("vader", "published", "ddpo"),
    adapters=("published",),
    gains={"vader": 0.4, "published": 0.2, "ddpo": 0.04},
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report with itself as the reference."""
    folder = write_results(tmp_path_factory.mktemp("adapters") / "tiny", WORLD)
    return build_report(folder, folder)


def frame(report: Report, name: str) -> pd.DataFrame:
    return pd.read_csv(report.results.folder / name, keep_default_na=False, dtype=str)


def test_one_run_a_reward_is_asked_for(report: Report) -> None:
    assert report.results.missing == ()
    assert [r.seed for r in report.results.of("red", "published")] == [0]
    assert report.results.seeds("published") == [0]
    assert not report.results.trained("published")


def test_the_curve_is_a_point_and_the_summary_has_a_row(report: Report) -> None:
    curves = frame(report, "curves.csv")
    assert curves[curves["method"] == "published"]["queries"].tolist() == ["0", "0"]
    summary = frame(report, "summary.csv").set_index(["reward", "method"]).to_dict("index")
    row = summary["red", "published"]
    assert row["gain"] == "0.2"
    assert (row["seeds"], row["aggregate"], row["reward_queries"]) == ("0", "", "0")
    assert row["queries_speed_up"] == "not trained"
    assert summary["red", "vader"]["winner"] == "yes"


def test_pairs_have_it(report: Report) -> None:
    pairs = frame(report, "pairs.csv")
    assert set(zip(pairs["first"], pairs["second"], strict=True)) == {
        ("vader", "published"), ("vader", "ddpo"), ("published", "ddpo"),
    }  # fmt: skip


def test_it_is_said_what_it_is(report: Report) -> None:
    lines = verdicts(report.analyses["red"], report.results.methods)
    told = next(line for line in lines if line.startswith("published was not trained here"))
    assert told.endswith("by interval and after Holm's correction it is above ddpo; below vader.")
    assert lines[0].startswith("vader is ahead at 64 reward queries")
    page = (report.results.folder / "report.html").read_text("utf-8")
    assert "Not trained here, but adapters from files: published." in page
    assert "runs/published-red-seed0/record.json" in page
    assert "runs/published-red-seed1" not in page


def test_what_it_is_not_distinguished_from_has_the_size_that_would_be_found(tmp_path: Path) -> None:
    noisy = replace(WORLD, rewards=("red",), seed_noise=0.3)
    report = build_report(write_results(tmp_path / "tiny", noisy))
    told = next(line for line in verdicts(report.analyses["red"], ()) if "was not trained here" in line)
    pairs = [pair for pair in report.analyses["red"].pairs if "published" in {pair.first, pair.second}]
    assert all(pair.ahead is None for pair in pairs)
    assert told.count("(a difference of ") == told.count("would be found with probability 0.8)") == len(pairs)


def test_with_one_seed_it_is_not_ranked_among_trained_ones(tmp_path: Path) -> None:
    one = Invented(
        rewards=("red",), methods=WORLD.methods, adapters=WORLD.adapters, seeds=(0,), gains=WORLD.gains
    )
    report = build_report(write_results(tmp_path / "tiny", one))
    lines = verdicts(report.analyses["red"], report.results.methods)
    told = next(line for line in lines if line.startswith("published was not trained here"))
    assert told.endswith("what it has cost is in none of the budgets.")


def test_the_figure_draws_it_across(report: Report) -> None:
    svg = (report.results.folder / "fig7.svg").read_text("utf-8")
    assert svg.count("stroke-dasharray: 8.4,2.1,2.1,2.1") >= 4  # two rewards, two axes


def test_it_need_not_improve_and_agrees_with_itself(report: Report, tmp_path: Path) -> None:
    weak = Invented(
        rewards=("red",), methods=WORLD.methods, adapters=WORLD.adapters, seeds=(0, 1, 2, 3, 4),
        gains={"vader": 0.4, "published": -0.2, "ddpo": 0.04},
    )  # fmt: skip
    assert build_report(write_results(tmp_path / "tiny", weak)).not_improved == []
    assert report.agreements is not None
    assert all(agreement.agrees for agreement in report.agreements)
    assert {agreement.method for agreement in report.agreements} == set(WORLD.methods)
