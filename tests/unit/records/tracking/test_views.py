"""What MLflow's page shows of an experiment at first sight."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import mlflow
import pytest
from mlflow.utils.validation import MAX_EXPERIMENT_TAG_VAL_LENGTH

from tests.support.folders import evaluation_line, step_line
from vader_bench.records.tracking.address import read_address
from vader_bench.records.tracking.points import points
from vader_bench.records.tracking.views import missing_tags, view_address

VIEW = "mlflow.sharedViewState."
NOTE = "mlflow.note.content"


def tags(**present: str) -> dict[str, str]:
    return missing_tags(present, "7", 1_700_000_000_000, "red")


def views() -> dict[str, dict[str, Any]]:
    """Return the states of the views as the page reads them, by key."""
    found = {key.removeprefix(VIEW): json.loads(value) for key, value in tags().items() if VIEW in key}
    return {key: json.loads(view["state"]) for key, view in found.items()}


def test_a_runs_row_shows_what_it_is_about() -> None:
    columns = set(views()["runs-red"]["selectedColumns"])
    metrics = {f"metrics.`{name}`" for name in ("reward", "gain", "gold", "ledger/queries")}
    assert columns == metrics | {f"tags.`{name}`" for name in ("method", "reward", "seed")}


def test_the_first_charts_are_the_reward_by_queries_and_by_device_time() -> None:
    state = views()["runs-red"]
    first, *others = state["compareRunSections"]
    assert first["display"]
    assert not [section["name"] for section in others if section["display"]]
    shown = [chart for chart in state["compareRunCharts"] if not chart["deleted"]]
    axes = [(chart["metricKey"], chart["selectedXAxisMetricKey"]) for chart in shown]
    assert axes[:2] == [("reward", "ledger/queries"), ("reward", "ledger/device_seconds")]
    assert {chart["metricSectionId"] for chart in shown} == {first["uuid"]}


def test_all_runs_of_the_reward_are_drawn_and_the_report_is_none_of_them() -> None:
    for state in views().values():
        assert state["searchFilter"] == "tags.kind = 'run' AND tags.reward = 'red'"
        assert state["runsHiddenMode"] == "SHOW_ALL"


def test_seeds_are_averaged_by_arm_where_steps_are_queries() -> None:
    """The page averages points of the same step, and seconds of device time differ from seed to seed."""
    state = views()["means-red"]
    assert state["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "arm"}]
    assert {chart["xAxisKey"] for chart in state["compareRunCharts"]} == {"step"}
    assert views()["runs-red"]["groupBy"] is None


def test_views_use_metrics_that_runs_have() -> None:
    line = evaluation_line(4, 2.5)
    sent = {point.key for point in (*points(line, untrained=0.5), *points(step_line(4, 2.5)))}
    for state in views().values():
        used = {chart["metricKey"] for chart in state["compareRunCharts"]}
        used |= {chart["selectedXAxisMetricKey"] for chart in state["compareRunCharts"]} - {""}
        used |= set(re.findall(r"metrics\.`(.+?)`", " ".join(state["selectedColumns"])))
        assert used <= sent


def test_a_view_is_of_the_form_that_the_page_reads() -> None:
    views_there = [json.loads(value) for key, value in tags().items() if key.startswith(VIEW)]
    for view in views_there:
        assert isinstance(view["name"], str)
        assert isinstance(view["state"], str)
        assert 1_700_000_000_000 <= view["createdAt"] == view["updatedAt"] < 1_700_000_000_010
    assert max(map(len, tags().values())) < MAX_EXPERIMENT_TAG_VAL_LENGTH


def test_the_page_of_the_installed_mlflow_knows_what_views_are_made_of() -> None:
    scripts = Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js"
    page = "".join(path.read_text("utf-8") for path in sorted(scripts.glob("*.js")))
    words = [VIEW, NOTE, "mlflow.experimentKind", "mlflow.runColor", "viewStateShareKey", "workflowType"]
    words += ["compareRunsMode", "custom_model_development", "machine_learning", "SHOW_ALL", "groupByKeys"]
    for state in views().values():
        words += [*state, *state["compareRunCharts"][0]]
    assert [word for word in words if word not in page] == []


def test_the_note_leads_to_the_charts_of_each_reward_and_stays_as_a_user_wrote_it() -> None:
    note = tags()[NOTE]
    both = missing_tags({NOTE: note}, "7", 0, "blue")[NOTE]
    assert re.findall(r"\[(\w+)\]\(#/experiments/7/runs\?", both) == ["red", "blue"]
    assert NOTE not in missing_tags({NOTE: both}, "7", 0, "red")
    assert NOTE not in tags(**{NOTE: "my own note"})


def test_nothing_is_written_twice() -> None:
    assert tags(**tags()) == {}


@pytest.mark.parametrize(
    ("given", "page"),
    [
        (None, "http://127.0.0.1:5000/"),
        ("https://bob:secret@host:8080/mlflow", "https://host:8080/mlflow/"),
        ("http://host", "http://host/"),
    ],
)
def test_the_address_opens_the_charts(tmp_path: Path, given: str | None, page: str) -> None:
    address = view_address(read_address(given, tmp_path).page, "7", "red")
    start, _, place = address.partition("#")
    assert start == page
    assert urlsplit(place).path == "/experiments/7/runs"
    asked = parse_qs(urlsplit(place).query)
    assert f"{VIEW}{asked['viewStateShareKey'][0]}" in tags()
    assert asked["compareRunsMode"] == ["CHART"]
