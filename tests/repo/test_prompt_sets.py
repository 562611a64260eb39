"""The committed prompt files are what their grammars write, and no split leaks into another."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vader_bench.experiment.load import load_suite
from vader_bench.prompts.packaged import PACKAGED, write_packaged
from vader_bench.prompts.sets import SETS_FOLDER, leaks, load_prompts, normalise, packaged_names


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_packaged_set_has_a_grammar() -> None:
    assert packaged_names() == sorted(PACKAGED)


def test_writing_the_sets_again_gives_the_committed_files(tmp_path: Path) -> None:
    write_packaged(tmp_path)
    assert contents(tmp_path) == contents(SETS_FOLDER)


@pytest.mark.parametrize("name", sorted(PACKAGED))
def test_no_split_leaks_into_another(name: str) -> None:
    prompts = load_prompts(name)
    assert leaks(prompts) == []
    # the same again without the code under test: all splits together hold no form twice
    forms = [normalise(prompt) for members in prompts.splits.values() for prompt in members]
    assert len(forms) == len(set(forms))


EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_no_experiment_asks_for_more_held_out_prompts_than_there_are(path: Path) -> None:
    asked = yaml.safe_load(path.read_text())
    suite = load_suite(asked["suite"])
    for reward in asked["rewards"]:
        there = len(load_prompts(suite.prompts_for(reward)).split("heldout"))
        most = max(asked["evaluation"][key] for key in ("prompts", "final_prompts"))
        assert most <= there, reward
