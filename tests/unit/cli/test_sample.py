"""``vader-bench sample`` and ``vader-bench score``, for real, on a tiny model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.unit.cli.conftest import call

pytestmark = pytest.mark.slow


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


def test_both_models_are_on_the_page(sampled: Path) -> None:
    folder = sampled / "samples" / "vader-red-seed1"
    assert sorted(path.name for path in folder.iterdir()) == ["base", "index.html", "trained"]
    listing = pd.read_csv(folder / "trained" / "videos.csv")
    assert listing["prompt"].tolist() == ["ab", "ab", "cd", "cd"]


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
