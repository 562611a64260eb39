"""All trials of a tuning for reading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from vader_bench.config.schema import RunConfig, SuiteConfig
from vader_bench.experiment.tuning.candidates import find_candidates
from vader_bench.experiment.tuning.config import TuneConfig
from vader_bench.experiment.tuning.halving import Tuned, halve
from vader_bench.experiment.tuning.shown import FIGURE_NAME, SUMMARY_NAME, _draw_settings, write_shown
from vader_bench.report.style import drawing


def curve(config: RunConfig, queries: int) -> float:
    """The reward rises by the learning rate with every eight queries."""
    return 1.0 + float(dict(config.settings)["learning_rate"]) * queries / 8


def fallen(course: tuple[float, ...]) -> Any:
    """A setting of that course."""
    outcome = SimpleNamespace(looks=tuple(range(len(course))), gains=course)
    return SimpleNamespace(outcome=outcome)


@pytest.fixture
def tuned(config: TuneConfig, suite: SuiteConfig, tmp_path: Path, doing: Callable[..., Any]) -> Tuned:
    do, _ = doing(curve)
    return halve(config, find_candidates(config, suite), tmp_path / "out", do)


def test_each_setting_has_a_row_at_the_last_rung_that_it_reached(
    config: TuneConfig, tuned: Tuned, tmp_path: Path
) -> None:
    assert write_shown(config, "tiny", tuned, tmp_path) == tmp_path / SUMMARY_NAME
    text = (tmp_path / SUMMARY_NAME).read_text("utf-8")
    table = text.partition("## red, vader\n\n")[2].partition("\n\n")[0].splitlines()
    assert table[0].startswith(
        "| trial | k | learning_rate | reached | seeds | mean over looks | gain at the end |"
    )
    assert table[2:] == [
        "| 1, **chosen** | 1 | 0.1 | 16 queries | 2 | 1.15 | +0.2 | -0.02 | +0 |",
        "| 3 | 2 | 0.1 | 16 queries | 2 | 1.15 | +0.2 | -0.02 | +0 |",
        "| 2 | 1 | 0.01 | 8 queries | 1 | 1.01 | +0.01 | -0.001 | +0 |",
        "| 4 | 2 | 0.01 | 8 queries | 1 | 1.01 | +0.01 | -0.001 | +0 |",
    ]
    assert f"![The courses of all settings]({FIGURE_NAME}.png)" in text
    assert "* red, vader: k 1, learning_rate 0.1; mean over looks 1.15" in text
    assert "  * open: k 1 is the smallest that was tried" in text


def test_the_figure_has_a_row_for_each_method(config: TuneConfig, tuned: Tuned, tmp_path: Path) -> None:
    write_shown(config, "tiny", tuned, tmp_path)
    with Image.open(tmp_path / f"{FIGURE_NAME}.png") as drawn:
        assert drawn.width > 500
    svg = (tmp_path / f"{FIGURE_NAME}.svg").read_text("utf-8")
    assert [
        text for text in ("gain with vader", "gain with ddpo", "gain of the truth") if text not in svg
    ] == []


def test_what_falls_far_leaves_the_panel_and_is_counted() -> None:
    gains = [(0.0, 0.2, 0.1), (0.0, 0.3, -0.5), (0.0, -9.0), (0.0, -0.7)]
    settings = [fallen(course) for course in gains]
    with drawing():
        ax = Figure().subplots()
        _draw_settings(ax, settings, settings[0], ("blue", "o"))
    low, high = ax.get_ylim()
    assert 0.3 < high < 0.4
    assert -0.7 < low < -2 * 0.3
    assert [text.get_text() for text in ax.texts] == ["\N{DOWNWARDS ARROW} 2 of 4 below"]


def test_what_a_trial_came_to_has_its_course_and_truth(
    config: TuneConfig, suite: SuiteConfig, tmp_path: Path, doing: Callable[..., Any]
) -> None:
    do, _ = doing(curve)
    trial = halve(config, find_candidates(config, suite), tmp_path, do).chosen["red", "vader"].outcome
    assert trial.looks == (0, 8, 16)
    assert trial.gains == pytest.approx((0.0, 0.1, 0.2))
    assert trial.truth_gains == pytest.approx((0.0, -0.01, -0.02))
    assert trial.share_gain == 0.0
