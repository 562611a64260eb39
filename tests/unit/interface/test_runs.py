"""One run in this process is the run that the command line makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.faults import lines_of
from vader_bench.experiment.load import LoadedExperiment
from vader_bench.interface.runs import run_arm
from vader_bench.records.record_file import read_record


def test_the_record_is_where_the_command_leaves_it(trained: Path, small: LoadedExperiment) -> None:
    record = read_record(trained / "record.json")
    assert (record.label, record.reward, record.seed) == ("vader", "red", 1)
    assert record.ledger["reward_queries"] == small.config.budget.reward_queries == 4
    assert (trained.parents[1] / "experiment.yaml").is_file()


def test_a_finished_run_is_not_made_again(trained: Path, small: LoadedExperiment) -> None:
    before = (trained / "record.json").stat().st_mtime_ns
    record = run_arm(small, "vader", "red", 1, out=trained.parents[3])
    assert record == read_record(trained / "record.json")
    assert (trained / "record.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arm", "reward", "seed", "line"),
    [
        ("vadr", "red", 1, "experiment small-quick: arm 'vadr': is not in it; did you mean 'vader'?"),
        ("vader", "blue", 1, "experiment small-quick: reward 'blue': is not in it; choose one of: red"),
        ("vader", "red", 9, "experiment small-quick: seed 9: is not in it; choose one of: 1"),
    ],
)
def test_an_unknown_run_is_refused(
    small: LoadedExperiment, arm: str, reward: str, seed: int, line: str, tmp_path: Path
) -> None:
    (found,) = lines_of(lambda: run_arm(small, arm, reward, seed, out=tmp_path))
    assert line in found
    assert list(tmp_path.iterdir()) == []
