"""The two experiments of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from vader_bench.config.experiment_file import ExperimentFile, read_experiment_file

Data = dict[str, Any]


def read(folder: Path, data: Data) -> ExperimentFile:
    path = folder / "fig.yaml"
    path.write_text(yaml.safe_dump(data), "utf-8")
    return read_experiment_file(path)


def test_quick_replaces_what_it_names_and_leaves_the_rest(tmp_path: Path, experiment_data: Data) -> None:
    experiment_data["quick"] = {
        "seeds": [3],
        "evaluation": {"every": 32},
        "methods": {"vader": {"by_reward": {"action": {"k": 1}}}},
    }
    full, quick, faults = read(tmp_path, experiment_data)
    assert [*faults, *full.faults, *quick.faults] == []
    assert (full.config.experiment, quick.config.experiment) == ("fig", "fig-quick")
    assert (full.config.seeds, quick.config.seeds) == ([0, 1], [3])
    assert full.config.evaluation.model_copy(update={"every": 32}) == quick.config.evaluation
    assert quick.config.methods["vader"].settings("action") == {"learning_rate": 0.001, "k": 1}
    assert full.config.methods["ddpo"] == quick.config.methods["ddpo"]
    assert quick.config.quick == {}


def test_each_form_has_its_faults(tmp_path: Path, experiment_data: Data) -> None:
    experiment_data["quick"] = {"seeds": 3}
    full, quick, _ = read(tmp_path, experiment_data)
    assert full.faults == []
    assert [fault.key for fault in quick.faults] == ["seeds"]
    experiment_data["quick"] = 4
    full, quick, _ = read(tmp_path, experiment_data)
    assert [fault.key for fault in full.faults] == ["quick"]
    assert quick.faults == []


@pytest.mark.parametrize(("suite", "place"), [("pocket", None), ("own.yaml", "own.yaml"), ("a/b", "a/b")])
def test_a_suite_file_is_relative_to_the_experiment(
    tmp_path: Path, experiment_data: Data, suite: str, place: str | None
) -> None:
    experiment_data["suite"] = suite
    wanted = suite if place is None else str(tmp_path.resolve() / place)
    full, quick, _ = read(tmp_path, experiment_data)
    assert (full.config.suite, quick.config.suite) == (wanted, wanted)
