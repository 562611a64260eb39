"""What a user reads is plain English: in messages, reports, docstrings and documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "experiments").iterdir(),
    *(ROOT / "human_eval").rglob("*"),
    ROOT / "results" / "README.md",
]
TEXTS = sorted(
    path
    for path in (
        *(ROOT / "vader_bench").rglob("*"),
        *(ROOT / "docs").rglob("*"),
        *DOCUMENTS,
        ROOT / ".ci" / "run",
    )
    if path.name == "run"
    or path.suffix in {".css", ".html", ".in", ".j2", ".js", ".md", ".py", ".pyi", ".txt", ".yaml"}
)
INSTEAD = {
    r"told from": "distinguished from",
    r"told (how|of|again)": "called with, reported",
    r"(lies|lie) above": "is above",
    r"mend(s|ed|ing)?": "fix",
    r"anew": "again",
    r"at hand": "available",
    r"be had": "available, or missing",
    r"reckon(s|ed|ing)?": "compute, count",
    r"wished for": "wanted",
    r"has not got": "lacks",
}
"""Words that stop a reader in a hurry, and what says the same."""


@pytest.mark.parametrize("words", INSTEAD)
def test_no_text_has_words_that_stop_a_reader(words: str) -> None:
    over_lines = words.replace(" ", r"\s+")
    unusual = re.compile(rf"\b{over_lines}\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1}: {match[0]}"
        for path in TEXTS
        for text in [path.read_text("utf-8")]
        for match in unusual.finditer(text)
    ]
    assert found == [], f"write: {INSTEAD[words]}"


def test_the_texts_are_there() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in TEXTS}
    assert names >= {"README.md", "CHANGELOG.md", "docs/index.md", "vader_bench/cli/run.py"}
    assert names >= {"vader_bench/report/templates/report.html.j2", "vader_bench/cli/starters/method.py.in"}
