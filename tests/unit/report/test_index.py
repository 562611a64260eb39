"""One page over all reports."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import torch

from tests.support.results import Invented, write_results
from vader_bench.cli import main
from vader_bench.errors import ExitCode, UserError
from vader_bench.files import write_bytes, write_json
from vader_bench.report import build_report
from vader_bench.report.index import write_index
from vader_bench.report.reported import PROVENANCE_NAME, read_reported
from vader_bench.videos import encode_mp4

WORLD = Invented(rewards=("red",), methods=("vader", "ddpo"), seeds=(0,))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two reports at different depths, one of them with a video of one arm."""
    folder = tmp_path_factory.mktemp("results")
    first = write_results(folder / "fig7" / "tiny", WORLD)
    write_bytes(first / "runs/vader-red-seed0/samples/heldout-0.mp4", encode_mp4(torch.zeros(2, 3, 16, 16)))
    build_report(first, command="vader-bench run <fig7>")
    second = write_results(folder / "reference" / "sanity" / "tiny", replace(WORLD, experiment="sanity"))
    build_report(second)
    return folder


@pytest.fixture(scope="module")
def page(results: Path) -> str:
    return write_index(results).path.read_text("utf-8")


def test_every_report_below_the_folder_is_on_the_page(page: str) -> None:
    assert re.findall(r'<section class="card" id="([^"]+)"', page) == ["fig7-tiny", "reference-sanity-tiny"]
    assert 'href="reference/sanity/tiny/report.html"' in page
    assert "vader-bench run &lt;fig7&gt;" in page
    assert "64 reward queries a run; 3 records" in page


def test_the_page_opens_with_what_each_experiment_found(page: str, results: Path) -> None:
    """Before any picture or video; a gain is named where its interval in the summary is above zero."""
    overview, _, cards = page.partition('<div class="cards">')
    assert "<video" not in overview
    assert "<img" not in overview
    assert cards.index("<details>") < cards.index("<video")
    (row,) = re.findall(r'<tr><th scope="row"><a href="#fig7-tiny">.*</tr>', overview)
    with (results / "fig7" / "tiny" / "summary.csv").open(encoding="utf-8") as opened:
        low = {line["method"]: line["gain_low"] for line in csv.DictReader(opened) if line["gain_low"]}
    assert {arm for arm in low if f"{arm} " in row} == {arm for arm in low if float(low[arm]) > 0}
    assert ("no arm" in row) == all(float(one) <= 0 for one in low.values())


def test_where_nothing_gains_it_says_so(tmp_path: Path) -> None:
    build_report(
        write_results(tmp_path / "fig7" / "tiny", replace(WORLD, gains={"vader": -0.4, "ddpo": -0.4}))
    )
    assert "<td>red: no arm</td>" in write_index(tmp_path).path.read_text("utf-8")


def test_the_main_experiments_come_first(tmp_path: Path) -> None:
    for experiment in ("ablate", "table1", "fig7"):
        build_report(
            write_results(tmp_path / "reference" / experiment / "tiny", replace(WORLD, experiment=experiment))
        )
    page = write_index(tmp_path).path.read_text("utf-8")
    places = [
        page.index(f'href="#reference-{experiment}-tiny"') for experiment in ("fig7", "table1", "ablate")
    ]
    assert places == sorted(places)


def test_all_that_the_page_links_to_is_there(page: str, results: Path) -> None:
    links = {link for link in re.findall(r'(?:src|href)="([^"#]+)"', page) if not link.startswith("data:")}
    assert "fig7/tiny/runs/vader-red-seed0/samples/heldout-0.mp4" in links
    assert {"fig7/tiny/fig7.png", "reference/sanity/tiny/tables.tex"} <= links
    assert [link for link in sorted(links) if not (results / link).is_file()] == []


def test_numbers_are_those_of_the_reports(page: str, results: Path) -> None:
    summary = (results / "fig7" / "tiny" / "summary.md").read_text("utf-8")
    row = next(line for line in summary.splitlines() if line.startswith("| vader |"))
    value, _, interval = row.split("|")[2].strip().partition(" ")
    assert f"<td>{value} <span>{interval}</span></td>" in page


def test_a_record_that_is_gone_or_changed_is_named(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "fig7" / "tiny", WORLD)
    build_report(folder)
    (folder / "runs" / "ddpo-red-seed0" / "record.json").unlink()
    changed = folder / "runs" / "vader-red-seed0" / "record.json"
    changed.write_text(changed.read_text("utf-8") + "\n", "utf-8")
    page = write_index(tmp_path).path.read_text("utf-8")
    assert "The record of ddpo-red-seed0 is gone since the report was made." in page
    assert "The record of vader-red-seed0 was changed since the report was made: report again." in page
    assert "The record of base-red-seed0" not in page


def test_missing_runs_stay_missing(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "fig7" / "tiny", WORLD, skip=["ddpo-red-seed0"])
    build_report(folder, allow_missing=True)
    page = write_index(tmp_path).path.read_text("utf-8")
    assert "Missing runs: ddpo-red-seed0." in page
    assert "<td>missing</td>" in page


def test_a_folder_without_reports_says_so(tmp_path: Path) -> None:
    assert "There are no reports yet" in write_index(tmp_path).path.read_text("utf-8")


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: is no folder; give a folder with results") as refused:
        write_index(tmp_path / "nowhere")
    assert refused.value.exit_code == ExitCode.MISSING
    assert not (tmp_path / "nowhere").exists()


def test_links_below_folders_of_any_name_lead_there(tmp_path: Path) -> None:
    build_report(write_results(tmp_path / "a#b?%20c ü" / "tiny", WORLD))
    page = write_index(tmp_path).path.read_text("utf-8")
    links = [link for link in re.findall(r'(?:src|href)="([^"]+)"', page) if link.startswith("a")]
    assert len(links) > 3
    assert [link for link in links if not (tmp_path / unquote(urlsplit(link).path)).is_file()] == []


def test_the_copies_that_mlflow_keeps_are_no_reports(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "fig7" / "tiny", WORLD)
    build_report(folder)
    copy = tmp_path / "mlartifacts" / "1" / "artifacts" / "provenance.json"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((folder / "provenance.json").read_bytes())
    assert write_index(tmp_path).path.read_text("utf-8").count('<section class="card"') == 1


def test_a_folder_that_cannot_be_read_is_named_and_the_others_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("fig7", "sanity"):
        build_report(write_results(tmp_path / name / "tiny", replace(WORLD, experiment=name)))
    (tmp_path / "fig7" / "tiny" / "experiment.yaml").unlink()
    assert main(["index", str(tmp_path)]) == ExitCode.DONE
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'index.html'}\n"
    (warning,) = told.err.splitlines()
    assert warning.startswith("warning: cannot be read: ")
    assert "fig7/tiny/experiment.yaml: does not exist" in warning
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "Cannot be read: " in page
    assert "fig7/tiny/experiment.yaml: does not exist" in page
    assert page.count('<section class="card"') == 1


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return (
        build_report(write_results(tmp_path_factory.mktemp("one") / "fig7" / "tiny", WORLD)).files[0].parent
    )


PROVENANCES: list[dict[str, Any]] = [
    {"missing": 1}, {"records": []}, {"records": {"../../x": "1"}}, {"outputs": {"/etc/passwd": "1"}},
    {"outputs": {"../x.csv": "1"}}, {"runs": {"git": [1]}}, {"runs": 1.5}, {"suite": None}, {"command": 3},
]  # fmt: skip


@pytest.mark.parametrize("changes", PROVENANCES)
def test_a_provenance_of_another_form_is_told(
    reported: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    told = json.loads((reported / PROVENANCE_NAME).read_bytes())
    write_json(tmp_path / PROVENANCE_NAME, told)
    assert read_reported(tmp_path).suite == "tiny"
    write_json(tmp_path / PROVENANCE_NAME, told | changes)
    with pytest.raises(UserError, match="is not as a report writes it"):
        read_reported(tmp_path)


def test_a_damaged_summary_is_told_on_the_page(reported: Path) -> None:
    path, folder = reported / "summary.csv", reported.parents[1]
    whole = path.read_bytes()
    head, _, rows = whole.partition(b"\n")
    for data in (b"", b"\xff", b"\0", b'"', head.replace(b"gain", b"x") + b"\n" + rows, head + b"\n" + head):
        path.write_bytes(data)
        page = write_index(folder).path.read_text("utf-8")
        assert "Cannot be read: " in page, data
        assert "summary.csv" in page, data
    path.unlink()
    assert "summary.csv: does not exist" in write_index(folder).path.read_text("utf-8")
    path.write_bytes(whole)
    assert "Cannot be read: " not in write_index(folder).path.read_text("utf-8")
