from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.results import Invented, write_results
from vader_bench.report.load import Results, load_results
from vader_bench.report.notes import reading_notes
from vader_bench.stats import Analysis


def _notes(folder: Path, world: Invented, skip: tuple[str, ...] = ()) -> str:
    results = load_results(write_results(folder, world, skip=skip), allow_missing=True)
    return "\n".join(reading_notes(results, results.analyses()))


@pytest.mark.parametrize(
    ("seeds", "words"), [(3, "are the mean over 3 seeds"), (5, "interquartile mean over 5")]
)
def test_the_aggregate_is_named(seeds: int, words: str, tmp_path: Path) -> None:
    assert words in _notes(tmp_path, Invented(rewards=("red",), seeds=range(seeds)))


def test_one_seed_is_reported_as_such(tmp_path: Path) -> None:
    text = _notes(tmp_path, Invented(rewards=("red",), seeds=(0,)))
    assert text.startswith("One seed: intervals come from resampling prompts only.")


def test_it_is_said_which_videos_count(results: Results, analyses: dict[str, Analysis]) -> None:
    words = "all use the videos that were judged at every look"
    assert any(words in note for note in reading_notes(results, analyses))
    assert not any(words in note for note in reading_notes(results, {}))


def test_baselines_are_named(tmp_path: Path, results: Results, analyses: dict[str, Analysis]) -> None:
    text = "\n".join(reading_notes(results, analyses))
    assert "of the best baseline (ddpo or diffusion-dpo)" in text
    alone = _notes(tmp_path, Invented(rewards=("red",), methods=("vader",)))
    assert "of the best baseline (none here)" in alone


def test_what_was_left_out_is_named(tmp_path: Path) -> None:
    world = Invented(rewards=("red",))
    write_results(tmp_path, Invented(rewards=("red", "blue"), seeds=(0,)))
    (tmp_path / "runs" / "vader-red-seed1" / "record.json").unlink(missing_ok=True)
    text = _notes(tmp_path, world, skip=("vader-red-seed1",))
    assert "Missing runs: vader-red-seed1." in text
    assert "red: seed 1 is left out" in text
    assert "not used: base-blue-seed0" in text


def test_what_a_method_noted_is_said_with_its_runs(tmp_path: Path) -> None:
    folder = write_results(tmp_path, Invented(rewards=("red", "blue")))
    for run in (folder / "runs").iterdir():
        if run.name == "vader-red-seed0" or ("blue" in run.name and not run.name.startswith("base")):
            path = run / "record.json"
            path.write_text(
                json.dumps(json.loads(path.read_text("utf-8")) | {"notes": ["it rained"]}), "utf-8"
            )
    results = load_results(folder)
    said = [note for note in reading_notes(results, results.analyses()) if "it rained" in note]
    assert said == ["vader-red-seed0, all trained runs on blue: it rained."]


def _made_with(folder: Path, run: str, **changes: dict[str, str]) -> None:
    path = folder / "runs" / run / "record.json"
    data = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(data | {key: data[key] | value for key, value in changes.items()}), "utf-8")


def test_runs_with_other_code_or_packages_are_named(tmp_path: Path) -> None:
    folder = write_results(tmp_path, Invented(rewards=("red",), seeds=(0, 1)))
    _made_with(folder, "vader-red-seed0", digests={"code": "9" * 64})
    _made_with(folder, "ddpo-red-seed1", digests={"code": "9" * 64}, packages={"torch": "2.12.0"})
    _made_with(folder, "base-red-seed0", packages={"mlflow": "9", "ftfy": "6.3"})  # no number comes from it
    results = load_results(folder)
    notes = [note for note in reading_notes(results, {}) if note.startswith("Made with other")]
    than, end = "than most runs on the same reward:", " What sets them apart may come from that."
    assert notes == [
        f"Made with other code {than} vader-red-seed0, ddpo-red-seed1.{end}",
        f"Made with other packages {than} ddpo-red-seed1 (torch 2.12.0 instead of 2.13.0).{end}",
    ]


def test_code_that_differs_between_rewards_alone_is_no_note(tmp_path: Path) -> None:
    folder = write_results(tmp_path, Invented(methods=("vader",), seeds=(0,)))
    for method in ("base", "vader"):
        _made_with(folder, f"{method}-blue-seed0", digests={"code": "9" * 64}, packages={"torch": "2.12.0"})
    results = load_results(folder)
    assert not [note for note in reading_notes(results, {}) if note.startswith("Made with other")]
