"""Paths in files are relative to the file, and recorded as they are written."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tests.support.configs import run_config
from vader_bench.config.paths import expanded, is_file, is_folder, located
from vader_bench.experiment.load import load_suite

SUITE = """\
suite: small
backbone:
  family: svd
  settings: {weights: ./model, frames: 8, pictures: ~/pictures/all}
rewards:
  smooth: {family: plugin, settings: {file: smooth.py, function: f}}
  deep: {family: plugin, settings: {file: ../code/deep.py, function: f}}
  hps: {family: hps, settings: {model: /data/hps.pt, tokenizer: hf:owner/name}}
  action: {family: action, settings: {model: pocket/videomae}}
gold:
  hps: {family: mix, settings: {parts: {hps: {model: ./gold}}, weights: {hps: 1.0}}}
prompt_share: {family: oracle}
prompts: {default: sets/mine.yaml, action: pocket, hps: ./folder}
sampler: {steps: 10, eta: 1.0, guidance: 1.0}
"""


def written(folder: Path) -> Path:
    folder.mkdir(parents=True)
    path = folder / "mine.yaml"
    path.write_text(SUITE, "utf-8")
    return path


def test_every_path_of_a_suite_is_relative_to_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "project")
    for given in (path, path.relative_to(tmp_path)):
        suite = load_suite(given)
        folder = str(tmp_path / "project")
        assert suite.backbone.settings == {
            "weights": f"{folder}/model",
            "frames": 8,
            "pictures": "/home/anna/pictures/all",
        }
        assert suite.rewards["smooth"].settings["file"] == f"{folder}/smooth.py"
        assert suite.rewards["deep"].settings["file"] == f"{tmp_path}/code/deep.py"
        assert suite.rewards["hps"].settings == {"model": "/data/hps.pt", "tokenizer": "hf:owner/name"}
        assert suite.rewards["action"].settings == {"model": "pocket/videomae"}
        assert suite.gold["hps"].settings["parts"] == {"hps": {"model": f"{folder}/gold"}}
        prompts = {"default": f"{folder}/sets/mine.yaml", "action": "pocket", "hps": f"{folder}/folder"}
        assert suite.prompts == prompts
        assert "/home/anna/pictures/all" in suite.weights("smooth")


def test_records_have_paths_as_they_are_written_wherever_the_project_is(tmp_path: Path) -> None:
    one, two = (load_suite(written(tmp_path / name / "project")) for name in ("one", "two"))
    assert one.prompts != two.prompts
    dumped = one.model_dump(mode="json")
    assert dumped == two.model_dump(mode="json")
    assert dumped["backbone"]["settings"]["weights"] == "./model"
    assert dumped["prompts"] == {"default": "sets/mine.yaml", "action": "pocket", "hps": "./folder"}
    assert str(tmp_path) not in one.model_dump_json()
    sent = pickle.loads(pickle.dumps(one))  # to a worker
    assert sent.prompts == one.prompts
    assert sent.model_dump(mode="json") == dumped


@pytest.mark.parametrize("ending", ["", ":dev"])
def test_the_prompts_of_a_run_are_recorded_as_they_are_written(tmp_path: Path, ending: str) -> None:
    suite = load_suite(written(tmp_path / "project"))
    changes = {"suite": suite, "prompts": suite.prompts_for("smooth") + ending}
    run = run_config().model_copy(update=changes)
    assert run.prompts == f"{tmp_path}/project/sets/mine.yaml{ending}"
    assert run.model_dump(mode="json")["prompts"] == f"sets/mine.yaml{ending}"
    assert str(tmp_path) not in run.model_dump_json()


def test_a_folder_of_the_user_is_recorded_without_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    path = written(tmp_path / "project")
    path.write_text(SUITE.replace("./model", "/home/anna/models/wan"), "utf-8")
    suite = load_suite(path)
    assert suite.backbone.settings["weights"] == "/home/anna/models/wan"
    assert suite.model_dump()["backbone"]["settings"]["weights"] == "~/models/wan"
    assert suite.written("/home/anna/models/wan") == "~/models/wan"


def test_paths_of_the_environment_are_as_a_shell_would_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setenv("DATA", "/big/disk")
    assert expanded("~/hub") == Path("/home/anna/hub")
    assert expanded("$DATA/hub") == Path("/big/disk/hub")
    assert expanded("${DATA}/hub") == Path("/big/disk/hub")
    assert expanded("$NO_SUCH_NAME/~") == Path("$NO_SUCH_NAME/~")
    assert expanded("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
    assert located("$DATA/a.yaml", Path("/project")) == "/big/disk/a.yaml"


def test_names_that_no_disk_takes_are_neither_file_nor_folder() -> None:
    for name in ("x" * 5000, "a\0b", "x/" * 5000):
        assert not is_file(Path(name))
        assert not is_folder(Path(name))
