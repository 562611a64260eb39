"""``vader-bench list``: what is known and what of it is here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.unit.cli.conftest import ENVIRONMENT
from vader_bench.cli import list as list_verb
from vader_bench.cli import main


@pytest.fixture
def lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, str]:
    """The state of each kind and name, with an empty hub cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert main(["list"]) == 0
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    return {f"{kind}: {name}": state for kind, name, state in cells}


def test_all_kinds_are_listed_with_their_state(lines: dict[str, str]) -> None:
    assert lines["method: vader"] == lines["reward: hps"] == lines["backbone: modelscope"] == "ready"
    assert lines["suite: pocket"].startswith("ready; rewards action, aesthetic")
    assert lines["weight of pocket: pocket/aesthetic"].startswith("present, 1.05 MB")
    assert lines["prompt set: activities"] == "dev_heldout 30, dev_train 16, heldout 135, train 50"


def test_experiments_that_come_with_the_package_are_listed_with_their_question(lines: dict[str, str]) -> None:
    files = sorted((Path(__file__).parents[3] / "experiments").glob("*.yaml"))
    listed = {name.removeprefix("experiment: ") for name in lines if name.startswith("experiment: ")}
    tunings = {path.stem for path in files if path.stem.startswith("tune")}
    assert listed == {path.stem for path in files} - tunings
    assert {f"tuning: {name}" for name in tunings} <= set(lines)
    told = lines["experiment: sanity"]
    assert told.startswith("suite pocket; Can each method raise an easy closed-form reward on prompts that")


def test_missing_weights_are_reported_with_the_command_that_fetches_them(lines: dict[str, str]) -> None:
    assert lines["suite: modelscope"].startswith("6 of 6 weights missing")
    told = lines["weight of modelscope: hf:damo-vilab/text-to-video-ms-1.7b"]
    assert told == (
        "missing; size unknown, licence cc-by-nc-4.0; hf download damo-vilab/text-to-video-ms-1.7b"
    )


def test_on_a_terminal_it_is_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr(list_verb, "Console", lambda: Console(width=200))
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert "│ suite" in said
    assert "pocket/aesthetic" in said


def test_listing_does_without_torch() -> None:
    code = "import sys; from vader_bench.cli import main; main(['list']); assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("group", "kind"),
    [("methods", "method"), ("rewards", "reward"), ("backbones", "backbone"), ("prompts", "prompt set")],
)
def test_what_installed_packages_offer_is_listed(
    group: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    info = tmp_path / "guest-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(f"[vader_bench.{group}]\nsharp = guest:Sharp\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [*kind.split(), "sharp", "of", "the", "package", "guest"] in lines
