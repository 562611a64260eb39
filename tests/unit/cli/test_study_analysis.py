"""``study simulate``, ``study analyze`` and ``study power`` as a user gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.studies import write_study
from vader_bench.cli import main
from vader_bench.errors import ExitCode
from vader_bench.human.config import load_study
from vader_bench.human.package import build_package


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("study")
    return build_package(load_study(write_study(source, clips=True)), source / "out").folder


def test_simulated_answers_are_written_and_said_to_be_simulated(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.csv"
    asked = ["study", "simulate", str(folder), "--prefer", "refinedarm", "--share", "0.7", "--out", str(out)]
    assert main([*asked, "--raters", "3"]) == ExitCode.DONE
    assert capsys.readouterr().out.splitlines() == [
        "SIMULATED: 6 blocks by 3 raters who prefer refinedarm in 70% of pairs",
        f"results: {out}",
    ]
    assert len(out.read_text("utf-8").splitlines()) == 7
    assert main([*asked, "--raters", "1"]) == ExitCode.BAD_INPUT
    assert "too few for 6 blocks" in capsys.readouterr().err
