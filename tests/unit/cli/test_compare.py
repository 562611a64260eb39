"""``compare`` says whether two results agree, and refuses results that share nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support.results import Invented, write_results
from vader_bench.cli import app
from vader_bench.errors import UserError

WORLD = Invented(rewards=("red",), methods=("vader", "ddpo"), seeds=(0, 1, 2))


def _compare(tmp_path: Path, other: Invented, own_world: Invented = WORLD) -> Result:
    own = write_results(tmp_path / "own", own_world)
    reference = write_results(tmp_path / "reference", other)
    return CliRunner().invoke(app, ["compare", str(own), str(reference)])


def test_the_same_results_agree(tmp_path: Path) -> None:
    found = _compare(tmp_path, WORLD)
    assert found.exit_code == 0
    assert "Agrees with the reference in all 2 comparisons" in found.output


def test_other_results_are_named_and_end_with_1(tmp_path: Path) -> None:
    found = _compare(tmp_path, replace(WORLD, gains={"vader": 0.9, "ddpo": 0.04}))
    assert found.exit_code == 1
    assert "Differs from the reference in 1 of 2 comparisons: vader on red." in found.output


def test_long_names_stay_apart_from_the_verdict(tmp_path: Path) -> None:
    names = ("an-arm-with-a-very-long-name", "ddpo")
    found = _compare(tmp_path / "long", replace(WORLD, methods=names), replace(WORLD, methods=names))
    assert "red  an-arm-with-a-very-long-name  agrees" in found.output
    assert f"red  {'ddpo':<{len(names[0])}}  agrees" in found.output


def test_results_that_share_nothing_are_an_error(tmp_path: Path) -> None:
    found = _compare(tmp_path, replace(WORLD, rewards=("blue",)))
    assert isinstance(found.exception, UserError)
    assert found.exception.exit_code == 2
    assert "share nothing that can be compared (it is missing in the reference)" in str(found.exception)


@pytest.mark.parametrize("methods", [("vader", "other"), ("ddpo",)])
def test_some_that_share_nothing_are_only_said(tmp_path: Path, methods: tuple[str, ...]) -> None:
    found = _compare(tmp_path, replace(WORLD, methods=methods))
    assert found.exit_code == 0
    assert "was not compared: it is missing in the reference." in found.output
