"""Units on axes: for every registered reward, in a few words."""

from __future__ import annotations

from pathlib import Path

from tests.support.results import Invented, write_results
from vader_bench.report.load import load_results
from vader_bench.report.units import UNITS, gold_unit, reward_unit
from vader_bench.rewards import REWARDS


def test_every_reward_has_a_unit_that_fits_an_axis() -> None:
    registered = set(REWARDS.table) - {"plugin"}  # whose file says it
    assert set(UNITS) == registered
    assert max(map(len, UNITS.values())) <= 20


def test_a_reward_and_its_truth_have_their_own(tmp_path: Path) -> None:
    found = load_results(write_results(tmp_path, Invented(rewards=("red",))))
    assert (reward_unit(found, "red"), gold_unit(found, "red")) == ("in [-1, 1]", "luma in [0, 1]")
