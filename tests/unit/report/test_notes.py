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


def test_what_was_left_out_is_named(tmp_path: Path) -> None:
    world = Invented(rewards=("red",))
    write_results(tmp_path, Invented(rewards=("red", "blue"), seeds=(0,)))
    (tmp_path / "runs" / "vader-red-seed1" / "record.json").unlink(missing_ok=True)
    text = _notes(tmp_path, world, skip=("vader-red-seed1",))
    assert "Missing runs: vader-red-seed1." in text
    assert "red: seeds 1 are left out" in text
    assert "not used: base-blue-seed0" in text


def test_what_a_method_noted_is_said_with_its_runs(tmp_path: Path) -> None:
    folder = write_results(tmp_path, Invented(rewards=("red",)))
    for seed in (0, 1):
        path = folder / "runs" / f"vader-red-seed{seed}" / "record.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"notes": ["it rained"]}), "utf-8")
    results = load_results(folder)
    assert "vader-red-seed0, vader-red-seed1: it rained." in reading_notes(results, results.analyses())
