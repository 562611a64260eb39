"""Suite files that extend another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.faults import lines_of
from vader_bench.errors import UserError
from vader_bench.experiment.load import load_suite

Data = dict[str, Any]
Write = Callable[[], Path]


@pytest.fixture
def extend(write_files: Write, tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of suite files beside those of ``write_files``."""
    write_files()

    def write(name: str, **data: Any) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"suite": name, **data}), "utf-8")
        return path

    return write


def test_what_a_file_leaves_out_is_as_in_the_suite_that_it_extends(
    extend: Callable[..., Path], suite_data: Data
) -> None:
    path = extend("own", extends="small", sampler={"steps": 3}, decode_frames=1)
    whole = suite_data | {"suite": "own", "decode_frames": 1}
    whole["sampler"] = suite_data["sampler"] | {"steps": 3}
    own = path.parent / "whole.yaml"
    own.write_text(yaml.safe_dump(whole), "utf-8")
    assert load_suite(path) == load_suite(own)


def test_rewards_are_added_and_left_out_one_by_one(extend: Callable[..., Path], suite_data: Data) -> None:
    path = extend(
        "own",
        extends="small",
        rewards={"action": None, "red": {"family": "brightness"}},
        prompts={"action": None},
    )
    suite = load_suite(path)
    assert suite.rewards.keys() == (suite_data["rewards"].keys() - {"action"}) | {"red"}
    assert "action" not in suite.prompts


@pytest.mark.parametrize("reward", ["object-removal", "aesthetic", "action"])
def test_a_reward_that_is_left_out_takes_its_gold_and_prompts_with_it(tmp_path: Path, reward: str) -> None:
    path = tmp_path / "few.yaml"
    path.write_text(f"suite: few\nextends: pocket\nrewards: {{{reward}: null}}\n", "utf-8")
    few, pocket = load_suite(path), load_suite("pocket")
    assert few.rewards.keys() == pocket.rewards.keys() - {reward}
    assert few.gold.keys() == pocket.gold.keys() - {reward}
    assert few.prompts.keys() == pocket.prompts.keys() - {reward}


def test_a_gold_for_a_reward_that_is_left_out_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "few.yaml"
    path.write_text(
        "suite: few\nextends: pocket\nrewards: {action: null}\ngold: {action: {family: redness}}\n", "utf-8"
    )
    with pytest.raises(UserError, match="gold: names 'action', which is no reward"):
        load_suite(path)


def test_a_backbone_is_taken_whole(extend: Callable[..., Path]) -> None:
    suite = load_suite(
        extend("own", extends="small", backbone={"family": "wan", "settings": {"weights": "./w"}})
    )
    assert list(suite.backbone.settings) == ["weights"]


def test_paths_are_relative_to_the_file_that_says_them(extend: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    extend("first", extends="small", prompts={"default": "./first.txt"})
    second = folder / "second.yaml"
    second.write_text(
        yaml.safe_dump({"suite": "second", "extends": "../first.yaml", "prompts": {"action": "./second.txt"}})
    )
    suite = load_suite(second)
    assert suite.prompts == {"default": str(tmp_path / "first.txt"), "action": str(folder / "second.txt")}
    assert suite.model_dump(mode="json")["prompts"] == {"default": "./first.txt", "action": "./second.txt"}


def test_a_path_that_is_replaced_by_one_written_alike_stands_for_nothing(
    extend: Callable[..., Path], tmp_path: Path
) -> None:
    extend("first", extends="small", prompts={"default": "./set.txt", "action": "./action.txt"})
    second = tmp_path / "deep" / "second.yaml"
    second.parent.mkdir()
    prompts = {"default": "./set.txt"}
    second.write_text(yaml.safe_dump({"suite": "second", "extends": "../first.yaml", "prompts": prompts}))
    places = {"./set.txt": str(second.parent / "set.txt"), "./action.txt": str(tmp_path / "action.txt")}
    assert load_suite(second).places == places


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ("smal", "own.yaml: extends: is 'smal', which is no suite; did you mean 'small'?"),
        (
            "own.yaml",
            "own.yaml: extends: is 'own.yaml', which extends this file itself; extend another suite",
        ),
        (3, "own.yaml: extends: is 3, not text; name a suite or a .yaml file"),
    ],
)
def test_faults_of_extends_are_one_line(extend: Callable[..., Path], other: object, line: str) -> None:
    (found,) = lines_of(lambda: load_suite(extend("own", extends=other)))
    assert line in found


def test_a_circle_of_files_is_refused(extend: Callable[..., Path]) -> None:
    extend("first", extends="second.yaml")
    second = extend("second", extends="first.yaml")
    (found,) = lines_of(lambda: load_suite(second))
    assert "first.yaml: extends: is 'second.yaml', which extends this file itself" in found


def test_the_name_is_not_taken_over(extend: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "nameless.yaml"
    path.write_text("extends: small\n", "utf-8")
    (found,) = lines_of(lambda: load_suite(path))
    assert "suite: is missing; add it" in found
