from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from tests.support.results import Invented, write_results
from vader_bench.records.record import Extension
from vader_bench.report import Report, build_report
from vader_bench.report.load import Results, load_results
from vader_bench.report.page import video_rows
from vader_bench.videos import encode_mp4

VOID = {"meta", "link", "br", "img", "input", "source", "hr"}


class _Page(HTMLParser):
    """Collects elements and refuses tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def _text(report: Report) -> str:
    return (report.results.folder / "report.html").read_text("utf-8")


def test_tags_close_and_ids_are_linked(report: Report) -> None:
    page = _Page(_text(report))
    targets = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    links = [attrs["href"] or "" for attrs in page.all("a")]
    assert sum(not link.startswith(("#records-", "runs/")) for link in links) == 8
    assert all(link.removeprefix("#") in targets for link in links if link.startswith("#"))
    records = [link for link in links if not link.startswith("#")]
    assert len(records) == 2 * (1 + 3 * 3)
    assert all((report.results.folder / link).is_file() for link in records)


def test_nothing_is_fetched_from_elsewhere(report: Report) -> None:
    page = _Page(_text(report))
    sources = [
        value
        for tag, attrs in page.elements
        for key, value in attrs.items()
        if key in {"src", "href", "xlink:href", "srcset", "action"} and value and not value.startswith("#")
    ]
    assert all(value.startswith(("runs/", "data:,")) for value in sources)
    assert not re.search(r"@import|url\((?!#)", _text(report))
    assert all("src" not in script for script in page.all("script"))


def test_figure_tables_findings_and_agreement_are_on_it(report: Report) -> None:
    text = _text(report)
    assert text.count("<svg ") == 1
    assert "vader is ahead at 64 reward queries" in text
    assert "Agrees with the reference in all 6 comparisons" in text
    assert "<code>vader-bench report &amp; more</code>" in text
    for title in ("Held-out reward at equal queries", "Generalisation", "Pairs of methods", "Spent by a run"):
        assert f"<figcaption>{title}</figcaption>" in text


def test_where_settings_were_chosen_is_named(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "tiny", Invented(rewards=("red",), seeds=(0,)))
    path = folder / "experiment.yaml"
    data = yaml.safe_load(path.read_text("utf-8")) | {"tuning": ["a.yaml", "b/<c>.yaml"]}
    path.write_text(yaml.safe_dump(data), "utf-8")
    told = "Settings were chosen in <code>a.yaml</code> and <code>b/&lt;c&gt;.yaml</code>."
    assert told in _text(build_report(folder))


def test_what_comes_from_files_is_escaped(report: Report) -> None:
    assert "for the same &lt;budget&gt;?" in _text(report)
    assert "<budget>" not in _text(report)


def test_prompts_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_results(tmp_path, Invented(rewards=("red",), seeds=(0,)))
    for path in tmp_path.glob("runs/*/record.json"):
        hostile = path.read_text().replace(
            "a heldout prompt, number 0", "<script>alert('x')</script> & \\\"y\\\""
        )
        path.write_text(hostile)
    text = _text(build_report(tmp_path))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &#34;y&#34;" in text
    _Page(text)


def test_videos_stand_side_by_side_from_the_first_seed(results: Results, results_folder: Path) -> None:
    rows = video_rows(results, "blue")
    assert [prompt for prompt, _ in rows] == [f"a heldout prompt, number {i}" for i in range(4)]
    for _, cells in rows:
        assert [cell.arm for cell in cells] == ["base", "vader", "ddpo", "diffusion-dpo"]
    record = results.records["ddpo-blue-seed0"]
    last = [e for e in record.evaluations if e.split == "heldout"][-1]
    score = next(s for s in last.scores if s.prompt == rows[2][0] and s.sample == 0)
    measured = f"truth {score.gold:.4g}, share of the prompt {score.prompt_share:.2f}"
    assert rows[2][1][2].scores == f"blue {score.reward:.4g}, {measured}"


def test_a_video_that_is_there_is_shown_and_one_that_is_not_is_missing(tmp_path: Path) -> None:
    write_results(tmp_path, Invented(rewards=("red",), seeds=(7,)), skip=["ddpo-red-seed7"])
    sample = tmp_path / "runs" / "vader-red-seed7" / "samples" / "heldout-1.mp4"
    sample.parent.mkdir()
    sample.write_bytes(encode_mp4(torch.zeros(2, 3, 16, 16)))
    rows = video_rows(load_results(tmp_path, allow_missing=True), "red")
    assert rows[1][1][1].source == "runs/vader-red-seed7/samples/heldout-1.mp4"
    assert rows[0][1][1].source is None
    assert rows[1][1][2].scores == "score missing"
    page = _Page(_text(build_report(tmp_path, allow_missing=True)))
    (video,) = page.all("video")
    assert video["src"] == "runs/vader-red-seed7/samples/heldout-1.mp4"
    assert {"controls", "loop", "muted"} <= set(video)


def test_a_page_without_any_video_says_so_once_and_has_no_empty_fields(tmp_path: Path) -> None:
    text = _text(build_report(write_results(tmp_path, Invented(rewards=("red", "blue"), seeds=(7,)))))
    assert text.count("No videos are in this folder") == 1
    assert "video missing" not in text
    assert "play-all" not in text
    assert "a heldout prompt, number 3" in text


@pytest.mark.parametrize(
    ("changes", "words"), [({"gold": lambda _: None}, "red 0."), ({"seeds": (0,)}, "One seed")]
)
def test_pages_of_poorer_results_are_made_too(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    world = replace(Invented(rewards=("red",), methods=("vader", "ddpo"), seeds=(0, 1)), **changes)
    text = _text(build_report(write_results(tmp_path, world)))
    assert words in text
    assert "No reference result was given." in text


def test_what_runs_spend_is_put_together_as_in_the_summary(tmp_path: Path) -> None:
    world = Invented(rewards=("red",), methods=("vader",), seeds=range(5))
    for path in write_results(tmp_path, world).glob("runs/vader-*/record.json"):
        data = json.loads(path.read_text())
        data["ledger"]["device_seconds"] = 1000.0 if data["seed"] == 3 else 12.5  # one run was disturbed
        path.write_text(json.dumps(data))
    page = _text(build_report(tmp_path))
    assert "12.5 s" in page
    assert "210 s" not in page
    assert "3.5 min" not in page
    summary = pd.read_csv(tmp_path / "summary.csv").set_index("method")
    assert summary.loc["vader", "device_seconds"] == 12.5


def test_rows_link_to_the_records_they_come_from(report: Report) -> None:
    page = _text(report)
    assert page.count('<a href="#records-vader">vader</a>') > 2
    assert 'id="records-vader"' in page
    assert '<a href="runs/vader-red-seed0/record.json">vader-red-seed0</a>' in page


def test_a_record_that_is_missing_is_not_linked(tmp_path: Path) -> None:
    folder = write_results(tmp_path, Invented(rewards=("red",), seeds=(0, 1)), skip=["ddpo-red-seed1"])
    page = _text(build_report(folder, allow_missing=True))
    assert "ddpo-red-seed1 missing" in page
    assert 'href="runs/ddpo-red-seed1/record.json"' not in page


def test_videos_made_longer_follow_with_their_scores_by_chunk(results: Results) -> None:
    name = "ddpo-blue-seed0"
    prompt = video_rows(results, "blue")[1][0]
    longer = results.records[name].model_copy(
        update={"extensions": [Extension(prompt=prompt, rewards=[0.5, 0.25])]}
    )
    rows = video_rows(replace(results, records=results.records | {name: longer}), "blue")
    assert len(rows) == 8
    assert rows[5][0] == f"{prompt}, made longer"
    assert rows[5][1][2].scores == "blue by chunk: 0.5, 0.25"
