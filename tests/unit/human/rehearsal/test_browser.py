"""What a rehearsal refuses before a browser starts. With a browser: ``serving/test_live.py``."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from vader_bench.errors import ExitCode, UserError
from vader_bench.human.plan import Built, Key, StudyPlan
from vader_bench.human.rehearsal import browser
from vader_bench.human.rehearsal.browser import Rehearsed, rehearse, started_browser
from vader_bench.human.serving.server import Exported, Running

NAMES = [f"SIMULATED-{number}" for number in range(1, 4)]


def go(raters: list[str], *, answered: int = 0) -> Rehearsed:
    """Rehearse a study of five blocks, two a rater."""
    plan = SimpleNamespace(blocks=SimpleNamespace(per_rater=2), video=SimpleNamespace(seconds=1.0))
    key = SimpleNamespace(blocks=dict.fromkeys("abcde"))
    built = Built(Path("study"), cast("StudyPlan", plan), cast("Key", key))
    exported = Exported(Path("x"), answered, late=0)
    running = SimpleNamespace(accounts=dict.fromkeys([*NAMES, "rater-1"], "secret"), export=lambda: exported)
    return rehearse(built, cast("Running", running), lambda *_: {}, raters, lambda *_: None)


@pytest.mark.parametrize("name", ["rater-1", "SIMULATED-4", "admin"])
def test_only_simulated_raters_of_the_server_rehearse(name: str) -> None:
    with pytest.raises(UserError, match=f"'{name}': is no simulated rater"):
        go([*NAMES, name])


def test_too_few_raters_are_reported_at_once() -> None:
    with pytest.raises(UserError, match="2 raters: are too few for 5 blocks at 2 each"):
        go(NAMES[:2])


def test_nothing_left_needs_no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "started_browser", None)
    assert go(NAMES, answered=5) == Rehearsed(0, 0)


@pytest.mark.parametrize(("there", "missing"), [("chromedriver", "Chromium"), ("chromium", "chromedriver")])
def test_without_chromium_the_remedy_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: str, missing: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name == there else None)
    wrong = f"^{missing}: is not installed.*chromium-driver"
    with pytest.raises(UserError, match=wrong) as caught:
        started_browser(tmp_path).__enter__()
    assert caught.value.exit_code == ExitCode.MISSING
    with pytest.raises(UserError, match=f"^{missing}: "):
        go(NAMES)
