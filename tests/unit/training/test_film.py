"""Videos of committed runs made again: they are those that the runs left, and more."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.records.record_file import read_record
from vader_bench.training.film import film
from vader_bench.videos import read_video

RUNS = Path(__file__).parents[3] / "results" / "reference" / "fig7" / "pocket" / "runs"


def first_prompts(run: Path, count: int) -> list[str]:
    looks = read_record(run / "record.json").evaluations
    return list(dict.fromkeys(s.prompt for look in looks if look.split == "heldout" for s in look.scores))[
        :count
    ]


def distance(one: Path, other: Path) -> float:
    """Return the mean difference of two videos' pixels, in 1/255."""
    pictures = [read_video(path).pictures.astype(float) for path in (one, other)]
    return float(np.abs(pictures[0] - pictures[1]).mean())


def test_a_trained_model_shows_what_its_run_left(tmp_path: Path) -> None:
    """The run was made on another machine: its pixels differ by rounding and by encoding, no more."""
    run, base = RUNS / "vader-aesthetic-seed1", RUNS / "base-aesthetic-seed1"
    told: list[int] = []
    film(run, first_prompts(run, 3)[1:], 1, tmp_path, "cpu", told.append)  # the first changes least
    assert told == [0, 2]
    for index in range(2):
        name = f"heldout-{index + 1}.mp4"
        made = tmp_path / f"{index}-0.mp4"
        assert distance(made, run / "samples" / name) < 5
        assert distance(made, base / "samples" / name) > 20


def test_the_base_model_needs_no_adapters_and_each_noise_is_another_video(tmp_path: Path) -> None:
    base = RUNS / "base-aesthetic-seed1"
    film(base, first_prompts(base, 1), 2, tmp_path, "cpu")
    assert distance(tmp_path / "0-0.mp4", base / "samples" / "heldout-0.mp4") < 2
    assert distance(tmp_path / "0-0.mp4", tmp_path / "0-1.mp4") > 4


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    base = tmp_path / "run"
    record = files.read_json(RUNS / "base-aesthetic-seed1" / "record.json")
    record["config"]["suite"]["evaluation_batch"] = 1
    files.write_json(base / "record.json", record)
    prompts = first_prompts(base, 2)
    film(base, prompts, 1, tmp_path, "cpu")
    made = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.mp4")}
    (tmp_path / "1-0.mp4").unlink()
    told: list[int] = []
    film(base, prompts, 1, tmp_path, "cpu", told.append)
    assert told == [1, 1]
    again = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.mp4")}
    assert again["0-0.mp4"] == made["0-0.mp4"]
    assert again["1-0.mp4"] > made["1-0.mp4"]


def test_footage_of_another_order_goes(tmp_path: Path) -> None:
    base = RUNS / "base-aesthetic-seed1"
    prompts = first_prompts(base, 2)
    film(base, prompts, 1, tmp_path, "cpu")
    film(base, prompts[1:], 1, tmp_path, "cpu")
    assert [path.name for path in tmp_path.glob("*.mp4")] == ["0-0.mp4"]
    assert distance(tmp_path / "0-0.mp4", base / "samples" / "heldout-1.mp4") < 2


def test_other_weights_than_those_of_the_run_are_refused(tmp_path: Path) -> None:
    record = files.read_json(RUNS / "base-aesthetic-seed1" / "record.json")
    record["digests"]["weights/pocket/text-to-video"] = "0" * 64
    files.write_json(tmp_path / "run" / "record.json", record)
    with pytest.raises(UserError, match="was made with other weights 'pocket/text-to-video' than are here"):
        film(tmp_path / "run", ["a red cat"], 1, tmp_path / "out", "cpu")
    assert not (tmp_path / "out").exists()


def test_a_run_without_its_adapters_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(RUNS / "vader-aesthetic-seed1" / "record.json", run)
    with pytest.raises(UserError, match=r"lora\.safetensors: is not there"):
        film(run, ["a red cat"], 1, tmp_path / "out", "cpu")
    with pytest.raises(UserError, match=r"record\.json"):
        film(tmp_path, ["a red cat"], 1, tmp_path / "out", "cpu")
