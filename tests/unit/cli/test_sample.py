"""``vader-bench sample`` and ``vader-bench score``, for real, on a tiny model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from tests.unit.cli.conftest import call
from vader_bench.cli import main
from vader_bench.interface import comparison, models


@pytest.fixture(scope="module")
def sampled(finished: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished experiment, in which a run was sampled."""
    folder = finished[0]
    run = folder / "results" / "small" / "tiny" / "runs" / "vader-red-seed1"
    (folder / "own.txt").write_text("ab\ncd\n", "utf-8")
    done = call("sample", run, "--prompts", "own.txt", "--samples", "2", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "8 videos of 2 prompts: samples/vader-red-seed1/index.html\n"
    return folder


@pytest.mark.slow
def test_both_models_are_on_the_page(sampled: Path) -> None:
    folder = sampled / "samples" / "vader-red-seed1"
    assert sorted(path.name for path in folder.iterdir()) == ["base", "index.html", "trained"]
    listing = pd.read_csv(folder / "trained" / "videos.csv")
    assert listing["prompt"].tolist() == ["ab", "ab", "cd", "cd"]


@pytest.mark.slow
def test_what_was_sampled_can_be_scored(sampled: Path) -> None:
    arguments = ("samples/vader-red-seed1/base", "--reward", "red", "--suite", "tiny.yaml")
    done = call("score", *arguments, cwd=sampled)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "video,prompt,score"
    assert len(lines) == 5
    mean = sum(float(line.rpartition(",")[2]) for line in lines[1:]) / 4
    assert done.stderr.startswith(f"mean {mean:.4g}, standard deviation ")
    assert call("score", *arguments, "--out", "scores.csv", cwd=sampled).stdout == ""
    assert (sampled / "scores.csv").read_text("utf-8") == done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("sample", "nowhere"), 2, "error: suite 'nowhere': is not known"),
        (("score", "nowhere", "--reward", "hps"), 3, "error: nowhere: is no folder"),
        (
            ("score", ".", "--reward", "hsp"),
            2,
            "error: reward 'hsp': is not in suite pocket; did you mean 'hps'?",
        ),
    ],
)
def test_wrong_input_is_one_line(arguments: tuple[str, ...], code: int, line: str, tmp_path: Path) -> None:
    done = call(*arguments, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1)
    assert done.stderr.startswith(line)


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("wan2.1", "wan2.1"), ("suites/wan2.1-240p.yaml", "wan2.1-240p"), ("tiny.yml", "tiny"),
        ("runs/lr-0.1-hps-seed1", "lr-0.1-hps-seed1"), ("runs/lr-0.1-hps-seed2/", "lr-0.1-hps-seed2"),
        (".", "vader.2-red-seed1"),
    ],
)  # fmt: skip
def test_videos_go_to_a_folder_of_the_whole_name(
    run: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path] = []

    def sample_pair(model: Any, texts: Any, samples: int, scale: float, folder: Path, sampled: Any) -> Path:
        folders.append(folder)
        return folder / "index.html"

    (tmp_path / "vader.2-red-seed1").mkdir()
    monkeypatch.chdir(tmp_path / "vader.2-red-seed1")
    monkeypatch.setattr(models, "load_model", lambda *_: SimpleNamespace(suite=None, lora=None))
    monkeypatch.setattr(comparison, "suite_prompts", lambda *_: ["a cat"])
    monkeypatch.setattr(comparison, "sample_pair", sample_pair)
    assert main(["sample", run]) == 0
    assert folders == [Path("samples") / name]
