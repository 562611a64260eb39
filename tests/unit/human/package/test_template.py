"""Hostile text cannot leave its place, and both forms of the page come from one source."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.support.studies import study_data
from vader_bench.errors import UserError
from vader_bench.human.config import StudyConfig
from vader_bench.human.package.template import FIELDS, LIMIT, encode_cell, fragment, page_data, question_xml

HOSTILE = [
    "</script><script>document.title = 'owned'</script>",
    "<img src=x onerror=alert(1)> & <b>bold</b> &lt;",
    "${block_id} ${block_json} ${x} $ {",
    "two\nlines\r\nand\ttab \u2028 \u2029",
    "\"double\" 'single' `back` \\ \\u0041 \\n",
    "שלום \u202e evil.mp4 مرحبا",
    "x" * 500,
    "👩‍🚀🚀 \U0001f4a9 é",
    "=HYPERLINK(1)",
    "]]> <![CDATA[ <!-- -->",
]


def config(**changes: Any) -> StudyConfig:
    return StudyConfig.model_validate(study_data(**changes))


def hostile_block() -> dict[str, Any]:
    return page_data(config(), [(f"i{n}", text, "l.mp4", "r.mp4") for n, text in enumerate(HOSTILE)])


class Page(HTMLParser):
    """Collects the elements of a page and the text in each script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def filled(template: str, values: dict[str, str]) -> str:
    """Return ``template`` as a platform fills it: raw, one field after the other."""
    for name, value in values.items():
        template = template.replace("${" + name + "}", value)
    return template


@pytest.mark.parametrize("order", [FIELDS, FIELDS[::-1]])
def test_hostile_prompts_come_out_as_they_went_in(order: tuple[str, ...]) -> None:
    values = {"block_id": "f00", "block_json": encode_cell(hostile_block())}
    page = Page(filled(fragment(config(), 6), {name: values[name] for name in order}))
    assert len(page.scripts) == 2
    assert [item["prompt"] for item in json.loads(page.scripts[0])["items"]] == HOSTILE
    assert page.count("img") == 0


def test_a_cell_is_one_line_of_tame_ascii() -> None:
    cell = encode_cell(hostile_block())
    assert cell.isascii()
    assert cell.isprintable()
    assert cell[0] == "{"
    assert not set(cell) & set("<>&'$")
    assert json.loads(cell) == hostile_block()


def test_a_cell_holds_no_number_that_json_does_not_know() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode_cell({"x": float("nan")})


def test_the_fragment_has_the_fields_of_the_batch_and_no_form() -> None:
    page = fragment(config(title="Pay ${block_id}", instructions="a ${x} b\n<script>1</script>"), 6)
    assert set(re.findall(r"\$\{(.*?)\}", page)) == set(FIELDS)
    found = Page(page)
    for tag in ("form", "html", "head", "body", "meta", "link", "iframe"):
        assert found.count(tag) == 0
    assert found.count("script") == 2
    names = {attributes.get("name") for tag, attributes in found.tags if tag == "input"}
    assert names == {"block_id", "answers_json"}


def test_the_page_fetches_nothing_and_builds_no_html_from_text() -> None:
    page = fragment(config(), 6)
    assert "http" not in page.replace("https://workersandbox.mturk.com", "")
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "`",
        "localStorage",
    ):
        assert word not in page
    assert all("src" not in attributes for _, attributes in Page(page).tags)


def test_the_document_is_xml_that_holds_the_whole_page() -> None:
    text = question_xml(config(title="A ]]> b"), 6, "f00", encode_cell(hostile_block()))
    root = ET.fromstring(text)
    assert root.tag.endswith("2011-11-11/HTMLQuestion.xsd}HTMLQuestion")
    content, height = root
    assert height.text == "0"
    assert content.text is not None
    assert content.text.startswith("\n<!DOCTYPE html>")
    page = Page(content.text)
    assert json.loads(page.scripts[0]) == hostile_block()
    form = next(attributes for tag, attributes in page.tags if tag == "form")
    assert form == {
        "id": "mturk_form",
        "method": "post",
        "action": "https://www.mturk.com/mturk/externalSubmit",
    }
    names = [attributes.get("name") for tag, attributes in page.tags if tag == "input"]
    assert names == ["assignmentId", "block_id", "answers_json"]


def test_both_forms_have_the_same_page() -> None:
    document = question_xml(config(), 6, "${block_id}", "${block_json}")
    inner = fragment(config(), 6)
    assert inner in document.replace("]]]]><![CDATA[>", "]]>")


def test_the_policy_lets_in_the_script_and_the_videos_only() -> None:
    content, _ = ET.fromstring(question_xml(config(video_url="https://example.org/v/"), 6, "f00", "{}"))
    page = Page(str(content.text))
    policy = next(str(a["content"]) for _, a in page.tags if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "media-src https://example.org/v/" in policy
    assert policy.count("sha256-") == 2
    assert "unsafe" not in policy


def test_a_page_over_the_limit_is_refused() -> None:
    with pytest.raises(UserError, match=r"makes a page of \d+ bytes, more than the 65535"):
        fragment(config(instructions="x" * LIMIT), 6)
    long = page_data(config(), [("i", "語" * 12_000, "l.mp4", "r.mp4")])  # 12,000 characters, 72,000 bytes
    with pytest.raises(UserError, match="block f00: makes a page"):
        question_xml(config(), 6, "f00", encode_cell(long))


def test_ties_are_a_third_answer() -> None:
    (first, *_) = page_data(config(ties=True), [])["questions"]
    assert [value for value, _ in first["options"]] == ["L", "T", "R"]
    (first, *_) = page_data(config(), [])["questions"]
    assert [value for value, _ in first["options"]] == ["L", "R"]


def test_raters_are_told_what_they_agree_to() -> None:
    page = fragment(config(), 6)
    for part in (
        "A lab",
        "Exempt, 2026-11",
        "lab@example.org",
        "1.00 USD",
        "2 minutes",
        "up to 6 pairs",
        "stop",
        "when you gave them",  # all that the page measures and the platform tells
        "size of the window",
        "how often you left it",
    ):
        assert part in page


def test_the_templates_are_in_the_package() -> None:
    folder = Path(__file__).parents[4] / "vader_bench" / "human" / "package" / "templates"
    assert {path.name for path in folder.iterdir()} == {"task.html.j2", "task.css", "task.js"}
    requester = folder.with_name("requester")  # what no rater sees
    assert {path.name for path in requester.iterdir()} == {"contact_sheet.html.j2", "study.yaml"}
