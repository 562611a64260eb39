"""``study`` as a user gives it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.studies import write_study
from vader_bench.cli import main
from vader_bench.errors import ExitCode

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "human_eval" / "studies" / "pocket-aesthetic.yaml"


def test_the_example_is_built_from_the_committed_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", "build", str(EXAMPLE)]) == ExitCode.DONE
    said = capsys.readouterr().out.splitlines()
    folder = Path("human_eval/packages/pocket-aesthetic")
    digest = json.loads((folder / "package" / "plan.json").read_text("utf-8"))["sha256"]
    assert said[0] == "pocket-aesthetic: 24 answers a question, 11 videos"
    assert said[1] == "  6 blocks, one rater each, by at least 2 people"
    assert said[2] == "  pays 18.00 USD an hour, 3.60 USD in all, without fees"
    assert said[3] == f"  plan SHA-256 {digest}: publish it before the first answer"
    assert said[4].startswith("  warning: 4 prompts are few")
    assert said[5].startswith("  warning: one person may give 50% of the answers")
    assert said[6:] == [
        f"package: {folder / 'package'}",
        f"key: {folder / 'key' / 'key.json'}; it tells the arms apart, so never upload it",
    ]
    for path in (folder / "package").rglob("*"):
        data = path.read_bytes().lower() if path.is_file() else b""
        for method in (b"vader", b"ddpo", b"dpo-", b"aesthetic", b"pocket"):
            assert method not in data, (path, method)
            assert method not in path.name.encode()


def test_the_papers_number_is_an_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_study(tmp_path, clips=True)
    assert main(["study", "build", str(study), "--out", str(tmp_path / "out"), "--paper"]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("small: 100 answers a question")


def test_all_faults_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_study(tmp_path, responses=7, colour="red", pay={"reward": -1})
    assert main(["study", "build", str(study)]) == ExitCode.BAD_INPUT
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 3
    for part in ("responses: is 7", "colour: is not a known key", "pay.reward: is -1"):
        assert part in told
