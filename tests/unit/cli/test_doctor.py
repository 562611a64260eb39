from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from vader_bench.cli import main


def test_each_finding_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5e10))
    assert main(["doctor", "--out", str(tmp_path / "results")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok       python        3.")
    assert {line.split()[0] for line in lines if not line.startswith(" ")} <= {"ok", "note"}


def test_what_is_missing_comes_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert main(["doctor", "--suite", "modelscope", "--out", str(tmp_path / "results")]) == 3
    lines = capsys.readouterr().out.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("missing  weights"))
    assert lines[first + 1].strip().startswith("fetch them with `hf download ")


def test_an_unknown_suite_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--suite", "pokcet"]) == 2
    assert capsys.readouterr().err.startswith("error: suite 'pokcet'")
