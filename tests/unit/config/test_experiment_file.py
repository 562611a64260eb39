"""The two experiments of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from vader_bench.config import experiment_file
from vader_bench.config.experiment_file import (
    ExperimentFile,
    experiment_names,
    experiment_path,
    read_experiment_file,
)
from vader_bench.errors import UserError

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


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "suite: own\nextends: pocket\n",
            "a suite, and no experiment; give an experiment",
        ),
        ("suite: own\nbackbone: {}\n", "a suite, and no experiment"),
        ("splits: {train: [a]}\n", "a prompt set, and no experiment"),
        ("study: own\n", "a study of preferences, and no experiment; give it to `vader-bench study build`"),
        (
            "experiment: own\nmethods: {vader: {points: [{k: 1}]}}\n",
            "a tuning, and no experiment; give it to `vader-bench tune`",
        ),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, text: str, kind: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(UserError) as caught:
        read_experiment_file(path)
    assert str(caught.value).startswith(f"{path}: is {kind}")
    assert "\n" not in str(caught.value)


def test_an_own_method_may_have_points(tmp_path: Path, experiment_data: Data) -> None:
    experiment_data["methods"] = {"mine": {"method": "./mine.py:Mine", "points": [1, 2]}}
    assert read(tmp_path, experiment_data).full.faults == []


def test_what_an_evaluation_does_not_say(tmp_path: Path, experiment_data: Data) -> None:
    experiment_data["evaluation"] = {"every": 32}
    found = read(tmp_path, experiment_data).full.config.evaluation
    assert (found.prompts, found.final_prompts, found.samples) == (32, 32, 1)
    assert (found.splits, found.final_splits) == (["heldout"], ["train", "heldout"])
    experiment_data["evaluation"] = {"every": 32, "prompts": 5}
    assert read(tmp_path, experiment_data).full.config.evaluation.final_prompts == 5
    experiment_data["evaluation"] = {"every": 32, "prompts": 0}
    assert [fault.key for fault in read(tmp_path, experiment_data).full.faults] == ["evaluation.prompts"]


@pytest.mark.parametrize(("suite", "place"), [("pocket", None), ("own.yaml", "own.yaml"), ("a/b", "a/b")])
def test_a_suite_file_is_relative_to_the_experiment(
    tmp_path: Path, experiment_data: Data, suite: str, place: str | None
) -> None:
    experiment_data["suite"] = suite
    wanted = suite if place is None else str(tmp_path.resolve() / place)
    full, quick, _ = read(tmp_path, experiment_data)
    assert (full.config.suite, quick.config.suite) == (wanted, wanted)


def test_a_packaged_experiment_is_found_by_name_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted((Path(__file__).parents[3] / "experiments").glob("*.yaml"))
    monkeypatch.chdir(tmp_path)
    assert experiment_names() == sorted(path.stem for path in files)
    assert [experiment_path(path.stem) for path in files] == files


def test_a_path_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for given in ("fig7.yaml", "./fig7", "~/fig7.yml", "folder/fig7"):
        assert experiment_path(given) == Path(given)
    Path("fig7").write_text("a file of the user's own", "utf-8")
    assert experiment_path("fig7") == Path("fig7")


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'fig77': is not known; did you mean 'fig7'.*\.yaml file"):
        experiment_path("fig77")


def test_an_installed_package_has_its_experiments_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vader_bench" / "experiments").mkdir(parents=True)
    inside = tmp_path / "vader_bench" / "experiments" / "mine.yaml"
    inside.write_text("experiment: mine", "utf-8")
    monkeypatch.setattr(experiment_file, "_PACKAGE", tmp_path / "vader_bench")
    assert (experiment_names(), experiment_path("mine")) == (["mine"], inside)
