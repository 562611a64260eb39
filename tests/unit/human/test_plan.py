"""The plan and the key of a built study, read again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.studies import write_study
from vader_bench.errors import UserError
from vader_bench.human.config import load_study
from vader_bench.human.package.build import build_package
from vader_bench.human.plan import KEY, load_built


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("study")
    return build_package(load_study(write_study(source, clips=True)), source / "out").folder


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_what_was_built_is_read(folder: Path) -> None:
    built = load_built(folder)
    assert built.arms == ["unrefined", "refinedarm"]
    assert built.pairs == [("refinedarm", "unrefined")]
    assert built.plan.blocks.count == len(built.key.blocks)
    assert built.plan.blocks.longest == max(map(len, built.key.blocks.values()))
    assert built.plan.video.seconds == 0.5


def test_a_changed_plan_is_refused(copied: Path) -> None:
    path = copied / "package" / "plan.json"
    sealed = json.loads(path.read_text("utf-8"))
    sealed["plan"]["exclusion"]["gold_right"] = 0.0
    path.write_text(json.dumps(sealed), "utf-8")
    with pytest.raises(UserError, match="changed after its digest was taken"):
        load_built(copied)


def test_another_key_is_refused(copied: Path) -> None:
    path = copied / KEY
    key = json.loads(path.read_text("utf-8"))
    key["arms"] = dict(zip(key["arms"], reversed(key["arms"].values()), strict=True))
    path.write_text(json.dumps(key), "utf-8")
    with pytest.raises(UserError, match="not the key of this plan"):
        load_built(copied)


@pytest.mark.parametrize("text", ["{}", "[]", '{"plan": {}, "sha256": ""}'])
def test_a_broken_plan_is_refused(copied: Path, text: str) -> None:
    (copied / "package" / "plan.json").write_text(text, "utf-8")
    with pytest.raises(UserError, match=r"plan\.json"):
        load_built(copied)


def test_a_plan_that_an_earlier_version_wrote_is_reported_as_such(copied: Path) -> None:
    # one whose tests were others: with few raters an exact binomial stood in
    path = copied / "package" / "plan.json"
    sealed = json.loads(path.read_text("utf-8"))
    assert sealed["plan"]["version"] == 2
    assert sealed["plan"]["analysis"]["otherwise"] == "none"
    assert sealed["plan"]["analysis"]["min_clusters"] == 3
    sealed["plan"]["version"] = 1
    del sealed["plan"]["analysis"]["without_spread"]
    path.write_text(json.dumps(sealed), "utf-8")
    with pytest.raises(UserError, match=r"is a plan of version 1, .*; use the version .* built"):
        load_built(copied)


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no study"):
        load_built(tmp_path)
