from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.support.results import Invented, write_results
from vader_bench.errors import UserError
from vader_bench.files import sha256_file
from vader_bench.report import Report, build_report

FILES = [
    "fig7.png", "fig7.svg", "fig7.pdf", "curves.csv", "summary.csv", "pairs.csv", "summary.md", "tables.tex",
    "report.html", "provenance.json",
]  # fmt: skip
SMALL = Invented(rewards=("red",), methods=("vader", "ddpo"), seeds=(0, 1))


def test_every_output_is_written(report: Report) -> None:
    assert [path.name for path in report.files] == FILES
    assert all(path.stat().st_size > 200 for path in report.files)
    left = {path.name for path in report.results.folder.iterdir()} - {*FILES, "runs", "experiment.yaml"}
    assert left == set()


def test_provenance_has_the_digest_of_all_that_went_in_and_came_out(report: Report) -> None:
    folder = report.results.folder
    found = json.loads((folder / "provenance.json").read_text())
    assert found["command"] == "vader-bench report & more"
    assert set(found["records"]) == {path.parent.name for path in folder.glob("runs/*/record.json")}
    assert found["records"]["ddpo-red-seed1"] == sha256_file(folder / "runs/ddpo-red-seed1/record.json")
    assert found["outputs"] == {name: sha256_file(folder / name) for name in FILES[:-1]}
    assert found["runs"]["git"] == [{"commit": "4" * 40, "dirty": False}]
    assert found["runs"]["code"] == ["3" * 64]
    assert found["reference"] == found["records"]
    assert "numpy" in found["report"]["packages"]


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    write_results(tmp_path, SMALL)
    digests = [
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in build_report(tmp_path).files}
        for _ in range(2)
    ]
    assert digests[0] == digests[1]


def test_files_can_be_read_back(report: Report) -> None:
    folder = report.results.folder
    curves = pd.read_csv(folder / "curves.csv")
    assert len(curves) == 90
    assert curves["reward_mean"].dtype.kind == "f"
    summary = pd.read_csv(folder / "summary.csv")
    assert len(summary) == 12
    assert len(pd.read_csv(folder / "pairs.csv")) == 6


def test_a_later_report_names_the_command_that_made_the_results(tmp_path: Path) -> None:
    write_results(tmp_path, SMALL)

    def named() -> str:
        return str(json.loads((tmp_path / "provenance.json").read_text())["command"])

    build_report(tmp_path)
    assert named() == f"vader-bench report {tmp_path}"  # nothing is known
    build_report(tmp_path, command="vader-bench run fig7.yaml --suite 'a b.yaml'")
    build_report(tmp_path)
    assert named() == "vader-bench run fig7.yaml --suite 'a b.yaml'"


def test_missing_records_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    write_results(tmp_path, SMALL, skip=["ddpo-red-seed1"])
    with pytest.raises(UserError, match="ddpo-red-seed1"):
        build_report(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"experiment.yaml", "runs"}


def test_missing_records_are_reported_when_allowed(tmp_path: Path) -> None:
    write_results(tmp_path, SMALL, skip=["ddpo-red-seed0", "ddpo-red-seed1", "base-red-seed0"])
    report = build_report(tmp_path, allow_missing=True)
    found = json.loads((tmp_path / "provenance.json").read_text())
    assert found["missing"] == ["base-red-seed0", "ddpo-red-seed0", "ddpo-red-seed1"]
    assert ",ddpo,0,0,,,,,,missing," in (tmp_path / "summary.csv").read_text()
    assert "Missing: ddpo." in (tmp_path / "report.html").read_text()
    assert report.agreements is None


def test_a_single_method_has_no_pairs(tmp_path: Path) -> None:
    build_report(write_results(tmp_path, replace(SMALL, methods=("vader",))))
    assert (tmp_path / "pairs.csv").read_text().startswith("reward,first,second,difference")


def test_methods_that_did_not_improve_are_named(tmp_path: Path) -> None:
    world = replace(SMALL, seeds=(0, 1, 2), gains={"vader": 0.4, "ddpo": 0.0})
    assert build_report(write_results(tmp_path, world)).not_improved == ["ddpo on red"]


def test_the_figure_is_named_after_the_experiment(tmp_path: Path) -> None:
    report = build_report(write_results(tmp_path, replace(SMALL, experiment="sanity", seeds=(0,))))
    assert [path.name for path in report.files[:3]] == ["sanity.png", "sanity.svg", "sanity.pdf"]
