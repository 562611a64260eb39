"""``vader-bench new``: what it writes passes ``check`` and does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vader_bench.cli.new import Kind, write_starter_file
from vader_bench.errors import UserError
from vader_bench.experiment.load import load_experiment, load_suite
from vader_bench.experiment.resolve import resolve_loaded
from vader_bench.prompts.sets import load_prompts


def written(kind: Kind, name: str, folder: Path) -> Path:
    return write_starter_file(kind, name, folder)[0]


def test_an_experiment_passes_the_check(tmp_path: Path) -> None:
    path = written(Kind.EXPERIMENT, "mine", tmp_path)
    assert path == tmp_path / "mine.yaml"
    for quick in (False, True):
        found = resolve_loaded(load_experiment(path, quick))
        assert found.experiment.experiment == ("mine-quick" if quick else "mine")
        assert len(found.runs) == (1 + 3 if quick else 1 + 9)


def test_a_suite_passes_the_check_and_so_does_what_it_has_in_comments(tmp_path: Path) -> None:
    path = written(Kind.SUITE, "mine", tmp_path)
    suite = load_suite(path)
    assert suite.suite == "mine"
    assert "red" in suite.rewards
    assert suite.gold_for("red") is not None
    lines = path.read_text("utf-8").splitlines()
    start = lines.index("# backbone: # taken whole, since settings of one family do not fit another")
    (tmp_path / "text-to-video-ms-1.7b").mkdir()
    path.write_text(
        "\n".join([*lines[:start], *(line.removeprefix("# ") for line in lines[start:])]), "utf-8"
    )
    changed = load_suite(path)
    assert changed.memory.checkpointing
    assert changed.decode_frames == 2
    assert changed.backbone.settings["frames"] == 16


def test_a_prompt_set_passes_the_check(tmp_path: Path) -> None:
    found = load_prompts(str(written(Kind.PROMPTS, "mine", tmp_path)))
    assert list(found.splits) == ["train", "heldout"]


def test_reward_method_suite_experiment_and_prompts_work_together(tmp_path: Path) -> None:
    """A run of the method on the reward is resolved as the comments in the files say."""
    reward, method = (written(kind, f"my-{kind}", tmp_path) for kind in (Kind.REWARD, Kind.METHOD))
    assert (reward.name, method.name) == ("my_reward.py", "my_method.py")
    entries = [
        yaml.safe_load(path.read_text("utf-8").split('"""')[1].partition("\n\n")[2])
        for path in (reward, method)
    ]
    suite = yaml.safe_load(written(Kind.SUITE, "own", tmp_path).read_text("utf-8"))
    suite["rewards"] = entries[0]["rewards"]
    suite["gold"] = {}
    suite["prompts"] = {"default": f"./{written(Kind.PROMPTS, 'own-prompts', tmp_path).name}"}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(suite), "utf-8")
    experiment = yaml.safe_load(written(Kind.EXPERIMENT, "whole", tmp_path).read_text("utf-8"))
    experiment |= {"suite": "./own.yaml", "rewards": ["my-reward"], "methods": entries[1]["methods"]}
    (tmp_path / "whole.yaml").write_text(yaml.safe_dump(experiment), "utf-8")
    found = resolve_loaded(load_experiment(tmp_path / "whole.yaml"))
    assert {run.label for run in found.runs} == {"base", "my-method"}
    assert found.runs[-1].settings.model_dump()["candidates"] == 4


@pytest.mark.parametrize("name", ["", "My", "a b", "-a", "1a", "a_b", "../a"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be that of a new suite"):
        write_starter_file(Kind.SUITE, name, tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = written(Kind.SUITE, "mine", tmp_path)
    path.write_text("kept", "utf-8")
    with pytest.raises(UserError, match="exists"):
        write_starter_file(Kind.EXPERIMENT, "mine", tmp_path)
    assert path.read_text("utf-8") == "kept"
