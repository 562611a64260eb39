"""Results that 0.1.0 left still make their reports, and what they measured has its right name."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from statistics import fmean

import pytest

from vader_bench.records.record_file import read_record
from vader_bench.report import build_report

OLDER = Path(__file__).parent / "version_1" / "fig5"
"""Results of 0.1.0 without its videos, with the table that it made of them."""


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of results of 0.1.0, made again."""
    folder = tmp_path_factory.mktemp("older") / "pocket"
    shutil.copytree(OLDER, folder)
    build_report(folder)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("key", ["heldout_reward", "gold", "gold_gain"])
def test_numbers_are_those_of_the_older_tables(rebuilt: Path, key: str) -> None:
    name = key.replace("gold", "prompt_share")
    before, after = rows(OLDER / "summary.csv"), rows(rebuilt / "summary.csv")
    assert any(row[key] for row in before)
    compared = [index for index, row in enumerate(before) if not row["method"].startswith("best-of-")]
    assert [after[index][name] for index in compared] == [before[index][key] for index in compared]


def test_what_choosing_adds_is_that_of_the_older_tables(rebuilt: Path) -> None:
    # 0.1.0 had best-of-N of all samples beside the base model of one; what choosing adds was and is the same
    record = read_record(OLDER / "runs" / "base-pickscore-seed1" / "record.json")
    (look,) = (look for look in record.evaluations if look.split == "heldout")
    mean_of_all = fmean(score.reward for score in look.scores)
    before, after = (
        {row["method"]: float(row["heldout_reward"]) for row in rows(folder / "summary.csv")}
        for folder in (OLDER, rebuilt)
    )
    assert after["best-of-4"] - after["base"] == pytest.approx(before["best-of-4"] - mean_of_all)


def test_no_truth_is_invented(rebuilt: Path) -> None:
    assert {row["gold"] for row in rows(rebuilt / "summary.csv")} == {"", "not measured"}
    text = (rebuilt / "summary.md").read_text()
    assert "The share of the prompt that the oracle sees, which no method trains on" in text
    assert "The truth that the reward imitates" not in text
