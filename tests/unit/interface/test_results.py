"""Results as frames."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.results import Invented, write_results
from vader_bench.interface.results import ResultFrames, read_results

WORLD = Invented(rewards=("red",), methods=("vader", "ddpo"), seeds=(0, 1, 2))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> ResultFrames:
    """Invented results."""
    return read_results(write_results(tmp_path_factory.mktemp("results") / "tiny", WORLD))


def test_gains_are_numbers_with_intervals(found: ResultFrames) -> None:
    rows = found.gains.to_dict("index")
    vader, base = rows["red", "vader"], rows["red", "base"]
    assert vader["gain"] == pytest.approx(WORLD.gains["vader"], abs=0.03)
    assert vader["gain_low"] < vader["gain"] < vader["gain_high"]
    assert vader["seeds"] == 3
    assert np.isnan(base["gain"])


def test_curves_pairs_and_scores(found: ResultFrames) -> None:
    looks = WORLD.budget // WORLD.every + 1
    assert len(found.curves) == 2 * 3 * looks
    (pair,) = found.pairs.to_dict("records")
    assert {pair["first"], pair["second"]} == {"vader", "ddpo"}
    assert pair["ahead"] == "vader"
    last = found.scores.query("arm == 'vader' and split == 'heldout' and queries == @WORLD.budget")
    assert len(last) == 3 * WORLD.final_prompts * WORLD.samples
    first = found.scores.query("arm == 'base' and split == 'heldout'")
    assert last["score"].mean() - first["score"].mean() == pytest.approx(WORLD.gains["vader"], abs=0.03)
