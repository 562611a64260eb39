"""Beside a run stands where this machine has the files of its suite; its record names them as written."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import cast

import pytest

from tests.support.configs import run_config
from vader_bench import files
from vader_bench.config.schema import RunConfig
from vader_bench.errors import UserError
from vader_bench.records.folder import RunFolder
from vader_bench.records.places import PLACES_NAME, run_prompts, run_suite
from vader_bench.records.record import Record
from vader_bench.report.keep import kept_of_run


def config_at(written: dict[str, str], weights: str = "/p/model") -> RunConfig:
    """Return a run on a suite that writes the paths ``written``, of which ``weights`` is one."""
    config = run_config()
    backbone = config.suite.backbone.model_copy(update={"settings": {"weights": weights}})
    suite = config.suite.model_copy(update={"backbone": backbone}).with_written(written)
    return config.model_copy(update={"suite": suite})


def record_of(config: RunConfig) -> Record:
    return cast("Record", SimpleNamespace(config=config.model_dump(mode="json")))


def opened(folder: Path, config: RunConfig) -> Path:
    RunFolder(folder).open(config).close()
    return folder / PLACES_NAME


def test_a_run_has_the_places_of_what_is_written_relative(tmp_path: Path) -> None:
    written = {"/p/model": "./model", "/p/code/blue.py:Blue": "code/blue.py:Blue"}
    path = opened(tmp_path, config_at(written))
    assert files.read_json(path) == {"./model": "/p/model", "code/blue.py:Blue": "/p/code/blue.py:Blue"}
    assert "/p/" not in (tmp_path / "config.json").read_text("utf-8")
    assert not kept_of_run(PurePath(PLACES_NAME), first=True, adapters=True)


def test_a_project_that_was_moved_has_its_new_places_once_its_command_is_given_again(tmp_path: Path) -> None:
    path = opened(tmp_path, config_at({"/p/model": "./model"}))
    before = path.stat().st_mtime_ns
    assert opened(tmp_path, config_at({"/p/model": "./model"})).stat().st_mtime_ns == before
    opened(tmp_path, config_at({"/q/model": "./model"}, "/q/model"))
    assert files.read_json(path) == {"./model": "/q/model"}
    opened(tmp_path, config_at({}, "./model"))  # who does not know them leaves them
    assert files.read_json(path) == {"./model": "/q/model"}


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"/p/model": "/p/model"},
        {"/p/model": "~/model"},
        {"/p/model": "./model", "/base/model": "./model"},  # of a file, and of another that it extends
    ],
)
def test_what_is_no_news_or_says_two_things_is_not_noted(written: dict[str, str], tmp_path: Path) -> None:
    assert not opened(tmp_path, config_at(written)).exists()


def test_a_read_only_disk_has_the_run_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert not opened(tmp_path, config_at({"/p/model": "./model"})).exists()


def test_the_suite_of_a_run_has_paths_of_this_machine_and_writes_them_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "project" / "model"
    model.mkdir(parents=True)
    config = config_at({str(model): "./model"}, str(model))
    opened(tmp_path / "run", config)
    suite = run_suite(tmp_path / "run", record_of(config))
    assert suite.backbone.settings["weights"] == str(model)
    assert suite.model_dump(mode="json") == config.suite.model_dump(mode="json")
    monkeypatch.setenv("HOME", str(tmp_path))
    for said in ("~/project/model", "$HOME/project/model"):
        found = run_suite(tmp_path, record_of(config_at({}, said)))
        assert (found.backbone.settings["weights"], found.written(str(model))) == (str(model), said)


@pytest.mark.parametrize("ending", ["", ":development"])
def test_the_prompts_of_a_run_are_those_of_this_machine(ending: str, tmp_path: Path) -> None:
    birds = tmp_path / "project" / "birds.yaml"
    birds.parent.mkdir()
    birds.write_text("splits: {}", "utf-8")
    (tmp_path / PLACES_NAME).write_text(files.canonical_json({"./birds.yaml": str(birds)}), "utf-8")
    for written, found in (
        ("./birds.yaml", str(birds)),
        ("./cats.yaml", "./cats.yaml"),
        ("pocket", "pocket"),
    ):
        record = cast("Record", SimpleNamespace(asked=SimpleNamespace(prompts=written + ending)))
        assert run_prompts(tmp_path, record) == found + ending


def test_what_is_elsewhere_by_now_is_named_as_written(tmp_path: Path) -> None:
    config = config_at({"/nowhere/model": "./model"}, "/nowhere/model")
    opened(tmp_path, config)
    assert run_suite(tmp_path, record_of(config)).backbone.settings["weights"] == "./model"


@pytest.mark.parametrize("text", ["{", '["./model"]', '{"./model": 1}'])
def test_a_damaged_table_comes_with_what_to_do(text: str, tmp_path: Path) -> None:
    (tmp_path / PLACES_NAME).write_text(text, "utf-8")
    with pytest.raises(UserError, match=r"paths\.json: .*; delete the file, and give the command of the exp"):
        run_suite(tmp_path, record_of(run_config()))
