"""Pages escape what is put into them and refuse names that nothing was given for."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from vader_bench.report.html import render


def test_text_is_escaped_and_finalized(tmp_path: Path) -> None:
    page = tmp_path / "page.html.j2"
    page.write_text("<p>{{ word }}</p>", "utf-8")
    assert render(page, {"word": "<b>"}) == "<p>&lt;b&gt;</p>"
    assert render(page, {"word": "ab"}, lambda value: value.upper()) == "<p>AB</p>"


def test_a_name_without_a_value_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.html.j2"
    page.write_text("{{ absent }}", "utf-8")
    with pytest.raises(UndefinedError, match="absent"):
        render(page, {})
