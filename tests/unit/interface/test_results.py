"""Results as frames."""

from __future__ import annotations

from pathlib import Path

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


def test_before_a_seed_is_complete_frames_have_their_columns_and_no_rows(
    found: ResultFrames, tmp_path: Path
) -> None:
    skip = ["vader-red-seed0", *(f"ddpo-red-seed{seed}" for seed in (1, 2))]
    folder = write_results(tmp_path, WORLD, skip=skip)
    early = read_results(folder, allow_missing=True)
    assert len(early.gains) == len(early.pairs) == 0
    assert early.gains.index.names == found.gains.index.names == ["reward", "arm"]
    assert list(early.gains["gain_low"]) == []
    assert list(early.pairs) == list(found.pairs)
    assert len(early.scores) > 0


def test_every_statistic_has_its_columns(found: ResultFrames) -> None:
    arms = [arm for analysis in found.analyses.values() for arm in analysis.arms]
    names = {f"{name}{end}" for arm in arms for name in arm.statistics for end in ("", "_low", "_high")}
    assert names <= set(found.gains)


def test_curves_pairs_and_scores(found: ResultFrames) -> None:
    looks = WORLD.budget // WORLD.every + 1
    assert len(found.curves) == 2 * 3 * looks
    (pair,) = found.pairs.to_dict("records")
    assert {pair["first"], pair["second"]} == {"vader", "ddpo"}
    assert pair["ahead"] == "vader"
    assert (pair["wins"], pair["seeds"]) == (3, 3)
    assert pair["difference_low"] < pair["difference"] < pair["difference_high"]
    last = found.scores.query("arm == 'vader' and split == 'heldout' and queries == @WORLD.budget")
    assert len(last) == 3 * WORLD.final_prompts * WORLD.samples
    first = found.scores.query("arm == 'base' and split == 'heldout'")
    assert last["score"].mean() - first["score"].mean() == pytest.approx(WORLD.gains["vader"], abs=0.03)
