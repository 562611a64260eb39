"""Fitted forms and stopping rules in a report: tables, sentences, figure and files."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.support.results import Invented, write_results
from vader_bench.config.schema import ArmEntry
from vader_bench.records.record import FrontierPoint, Record
from vader_bench.report.build import build_report
from vader_bench.report.course_figure import draw_course
from vader_bench.report.distance import read_distances
from vader_bench.report.distance_figure import draw_distances
from vader_bench.report.load import Results, load_results
from vader_bench.report.measures import findings, measure_tables
from vader_bench.report.stopping import read_stopping
from vader_bench.report.style import lines_of
from vader_bench.report.summary import spending
from vader_bench.stats import Analysis

LOOKS = 8
"""As many as an experiment has: enough to see where a curve bends."""
ALPHA, BETA = 0.5, 0.05


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = Invented(budget=16 * LOOKS, every=16, samples=2, final_prompts=6, methods=("vader", "ddpo"))
    return write_results(tmp_path_factory.mktemp("moved") / "tiny", world)


def moved(record: Record) -> Record:
    """Return a run whose truth follows the best-of-n form: VADER goes beyond its peak, DDPO does not."""
    step = 1.2 if record.method == "vader" else 0.3
    looks = []
    for look in record.evaluations:
        d = step * look.queries / 16 * (1 + 0.02 * record.seed)
        scores = [
            score.model_copy(
                update={
                    "gold": 1 + d * (ALPHA - BETA * d) + 0.01 * ((7 * index + 3 * record.seed) % 5),
                    "others": {"sharp": 1 - (d - 4) ** 2 + 0.01 * index},
                }
            )
            for index, score in enumerate(look.scores)
        ]
        update = {"scores": scores, "path_kl": d * d, "diversity": 0.3 - 0.02 * d}
        looks.append(look.model_copy(update=update))
    ends = [look for look in looks if look.split == "heldout"]
    frontier = [
        FrontierPoint(scale=scale, look=ends[at]) for scale, at in ((0.0, 0), (0.5, LOOKS // 2), (1.0, LOOKS))
    ]
    asked = {**record.config["evaluation"], "measure": {"judges": ["sharp"]}}
    config = {**record.config, "evaluation": asked}
    return record.model_copy(update={"evaluations": looks, "frontier": frontier, "config": config})


def changed(results: Results, change: Callable[[Record], Record]) -> Results:
    found = {n: r if r.method == "base" else change(r) for n, r in results.records.items()}
    return replace(results, records=found)


@pytest.fixture(scope="module")
def found(folder: Path) -> tuple[Results, dict[str, Analysis]]:
    results = changed(load_results(folder), moved)
    return results, results.analyses()


def test_plain_results_have_no_distance(results: Results, analyses: dict[str, Analysis]) -> None:
    assert read_distances(results, analyses) is None
    assert read_stopping(results) is None


def test_the_table_has_the_parameters_that_made_the_runs(found: tuple[Results, dict[str, Analysis]]) -> None:
    distances = read_distances(*found)
    assert distances is not None
    fits, best_of = distances.tables("red")
    assert [row[:2] for row in fits.rows] == [
        ["vader", "best-of-n"], ["", "RL"], ["ddpo", "best-of-n"], ["", "RL"],
    ]  # fmt: skip
    assert all(len(row) == len(fits.head) for row in fits.rows)
    alpha, beta, peak = (float(fits.rows[0][column].partition(" ")[0]) for column in (2, 3, 5))
    assert (alpha, beta, peak) == pytest.approx((ALPHA, BETA, ALPHA / (2 * BETA)), rel=0.1)
    assert fits.rows[0][-1] == "yes"
    assert [row[0] for row in best_of.rows] == ["best-of-2", "best-of-4"]


def test_a_sentence_says_what_is_known_of_the_peak(found: tuple[Results, dict[str, Analysis]]) -> None:
    distances = read_distances(*found)
    assert distances is not None
    vader, ddpo = distances.findings("red")
    assert vader.startswith("vader: of the forms of Gao et al. the best-of-n form fits better, by interval")
    assert vader.endswith("over-optimised beyond.")
    assert ddpo.startswith("ddpo: ")
    assert "over-optimised" not in ddpo


def test_noise_is_called_no_form(found: tuple[Results, dict[str, Analysis]]) -> None:
    def flat(record: Record) -> Record:
        looks = [
            look.model_copy(
                update={
                    "scores": [
                        s.model_copy(update={"gold": 1.0 + (look.queries // 16 % 2)}) for s in look.scores
                    ]
                }
            )
            for look in record.evaluations
        ]
        return record.model_copy(update={"evaluations": looks})

    distances = read_distances(changed(found[0], flat), found[1])
    assert distances is not None
    assert "neither form of Gao et al. says more" in distances.findings("red")[0]


def test_rules_have_a_row_each_and_know_what_they_keep(found: tuple[Results, dict[str, Analysis]]) -> None:
    stopping = read_stopping(found[0])
    assert stopping is not None
    stopped, scaled = stopping.tables("red")
    assert stopped.head == ["", "its number", "mean queries", "all", "vader", "ddpo"]
    assert [row[0] for row in stopped.rows] == [row[0] for row in scaled.rows]
    rows = {row[0]: row for row in stopped.rows}
    assert rows["as trained"][1:3] == ["", str(16 * LOOKS)]
    kept = {name: float(row[4].partition(" ")[0]) for name, row in rows.items()}  # of VADER
    assert kept["second reward highest"] > 0.9 > kept["as trained"]
    [said] = stopping.findings("red")
    assert said.startswith("When to stop: of the best truth gain the end of training keeps ")


def test_arms_of_a_method_are_fitted_together_and_share_a_colour(
    found: tuple[Results, dict[str, Analysis]],
) -> None:
    results, analyses = found
    methods = {"vader": ArmEntry(), "ddpo": ArmEntry(method="vader")}  # as if the two were arms of one method
    experiment = results.experiment.model_copy(update={"methods": methods})
    distances = read_distances(replace(results, experiment=experiment), analyses)
    assert distances is not None
    assert list(distances.laws["red"]) == ["vader"]
    assert distances.laws["red"]["vader"].cloud.arms == ("vader", "ddpo")
    styles = lines_of({"vader": ["vader-small", "vader"], "ddpo": ["ddpo"]})
    assert styles["vader-small"][:2] == styles["vader"][:2] != styles["ddpo"][:2]
    assert styles["vader-small"][2] != styles["vader"][2]


def test_the_figure_is_the_same_bytes_for_the_same_numbers(
    found: tuple[Results, dict[str, Analysis]],
) -> None:
    distances = read_distances(*found)
    assert distances is not None
    drawn = draw_distances(found[0], distances)
    assert drawn["png"].startswith(b"\x89PNG")
    assert "root of the path KL" in drawn["svg"].decode()
    assert draw_distances(found[0], distances)["svg"] == drawn["svg"]


def test_files_have_every_point_fit_and_rule(found: tuple[Results, dict[str, Analysis]]) -> None:
    distances, stopping = read_distances(*found), read_stopping(found[0])
    assert distances is not None
    assert stopping is not None
    points, fits, rules = distances.points_frame(), distances.fits_frame(), stopping.frame()
    assert len(points) == 2 * (2 * 3 * LOOKS + 2)  # rewards; methods, seeds and looks; best-of-2 and of-4
    assert len(fits) == 2 * 2 * 2
    assert set(rules["chooses"]) == {"queries", "scale"}
    one = points[(points["arm"] == "vader") & (points["seed"] == "1") & (points["queries"] == "64")].iloc[0]
    assert float(one["distance"]) == pytest.approx(1.2 * 4 * 1.02)


def test_a_partial_report_is_of_one_set_of_seeds(found: tuple[Results, dict[str, Analysis]]) -> None:
    """Whether a seed lacks one run or all of them, every number is of the other seeds."""
    timed = changed(
        found[0], lambda run: run.model_copy(update={"ledger": spent_by(run), "peak_bytes": 2**20})
    )

    def without(*names: str) -> list[object]:
        results = replace(timed, records={n: r for n, r in timed.records.items() if n not in names})
        analyses = results.analyses()
        distances, stopping = read_distances(results, analyses), read_stopping(results)
        assert distances is not None
        assert stopping is not None
        spent = [spending(results, "red", arm) for arm in results.methods]
        tables = [*measure_tables(results, "red"), *distances.tables("red"), *stopping.tables("red")]
        said = findings(results, "red") + distances.findings("red") + stopping.findings("red")
        return [analyses["red"].panel.seeds, spent, tables, said]

    partial = without("ddpo-red-seed1")
    assert partial[0] == (0, 2)
    assert partial == without("ddpo-red-seed1", "vader-red-seed1")
    assert partial[1:] != without()[1:]


def spent_by(run: Record) -> dict[str, float]:
    return {**run.ledger, "device_seconds": 10.0 + run.seed}


def test_without_a_complete_seed_there_is_nothing_of_it(found: tuple[Results, dict[str, Analysis]]) -> None:
    names = ("base-red-seed0", "vader-red-seed0", "ddpo-red-seed1")
    apart = replace(found[0], records={name: found[0].records[name] for name in names})
    assert draw_course(apart, {}) is None
    assert read_distances(apart, {}) is None
    assert read_stopping(apart) is None


@pytest.mark.slow
def test_a_report_of_such_runs_has_all_of_it(folder: Path, tmp_path: Path) -> None:
    results = changed(load_results(folder), moved)
    there = tmp_path / "fig7" / "tiny"
    for name, record in results.records.items():
        (there / "runs" / name).mkdir(parents=True)
        (there / "runs" / name / "record.json").write_text(record.model_dump_json(), "utf-8")
    (there / "experiment.yaml").write_bytes((folder / "experiment.yaml").read_bytes())
    names = {path.name for path in build_report(there).files}
    assert {"distance.png", "distance.csv", "fits.csv", "stopping.csv", "course.png"} <= names
    page = (there / "report.html").read_text("utf-8")
    assert "best-of-N of the\nbase model at its own distance" in page
    fits = pd.read_csv(io.BytesIO((there / "fits.csv").read_bytes()))
    assert set(fits["form"]) == {"best-of-n", "RL"}
