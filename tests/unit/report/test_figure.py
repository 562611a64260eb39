from __future__ import annotations

import sys
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes

from tests.support.results import Invented, write_results
from vader_bench.report import figure
from vader_bench.report.figure import Unit, draw, spread, time_unit
from vader_bench.report.load import Results, load_results
from vader_bench.report.style import drawing, style_of
from vader_bench.stats import Analysis


def _axes(results: Results, analyses: dict[str, Analysis]) -> list[Axes]:
    return figure._figure(results, analyses).axes


def _texts(ax: Axes) -> set[str]:
    return {text.get_text() for text in ax.texts}


def test_both_files_are_drawn_and_the_same_each_time(results: Results, analyses: dict[str, Analysis]) -> None:
    first, second = draw(results, analyses), draw(results, analyses)
    assert first == second
    assert matplotlib.image.imread(BytesIO(first["png"])).shape[0] > 800
    root = ET.fromstring(first["svg"].decode())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert b"date" not in first["svg"].lower()


def test_drawing_leaves_matplotlib_as_it_was(results: Results, analyses: dict[str, Analysis]) -> None:
    before = dict(mpl.rcParams)
    draw(results, analyses)
    assert dict(mpl.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_one_column_a_reward_with_units_on_the_axes(results: Results, analyses: dict[str, Analysis]) -> None:
    axes = _axes(results, analyses)
    assert len(axes) == 4
    assert [ax.get_title() for ax in axes[:2]] == ["red", "blue"]
    assert [ax.get_xlabel() for ax in axes] == ["reward queries"] * 2 + ["device-seconds"] * 2
    assert axes[0].get_ylabel() == axes[2].get_ylabel() == "held-out reward"
    assert axes[0].get_ylim() == axes[2].get_ylim()


def test_every_curve_below_is_cut_at_the_same_amount(results: Results, analyses: dict[str, Analysis]) -> None:
    cut = analyses["red"].cuts["device_seconds"]
    bottom = _axes(results, analyses)[2]
    wide = [line for line in bottom.lines if line.get_linewidth() == 1.6]
    assert len(wide) == 3
    assert [float(np.max(line.get_xdata())) for line in wide] == pytest.approx([cut] * 3)
    assert max(float(np.max(line.get_xdata())) for line in bottom.lines) <= cut * 1.001


def test_few_seeds_are_all_shown_and_many_are_not(
    results: Results, analyses: dict[str, Analysis], tmp_path: Path
) -> None:
    thin = [line for line in _axes(results, analyses)[0].lines if line.get_linewidth() == 0.6]
    assert len(thin) == 3 * 3
    world = Invented(rewards=("red",), seeds=tuple(range(5)))
    many = load_results(write_results(tmp_path, world))
    assert not [line for line in _axes(many, many.analyses())[0].lines if line.get_linewidth() == 0.6]


def test_base_and_best_of_n_are_labelled(results: Results, analyses: dict[str, Analysis]) -> None:
    for ax in _axes(results, analyses):
        assert _texts(ax) == {"base", "best of 2", "best of 4"}


def test_methods_differ_in_colour_and_marker() -> None:
    methods = ("vader", "ddpo", "diffusion-dpo", "other", "more")
    styles = [style_of(method, methods) for method in methods]
    assert len({colour for colour, _ in styles}) == len({marker for _, marker in styles}) == 5


def test_as_many_arms_as_an_ablation_has_differ_too() -> None:
    arms = [f"k-{number}" for number in range(8)]
    assert len({style_of(arm, arms) for arm in arms}) == 8


def test_a_reward_without_results_says_missing(results: Results, analyses: dict[str, Analysis]) -> None:
    axes = _axes(results, {"red": analyses["red"]})
    assert _texts(axes[1]) == _texts(axes[3]) == {"missing"}
    draw(results, {"red": analyses["red"]})


def test_the_legend_says_what_the_band_is(results: Results, tmp_path: Path) -> None:
    world = Invented(rewards=("red",), seeds=(0,))
    single = load_results(write_results(tmp_path, world))
    words = []
    for each in (results, single):
        (legend,) = figure._figure(each, each.analyses()).legends
        words.append([text.get_text() for text in legend.get_texts()])
    assert words[0] == [
        "vader",
        "ddpo",
        "diffusion-dpo",
        "95 % interval of the gain\n(mean over seeds)",
        "single seeds",
    ]
    assert words[1][3:] == ["95 % interval of the gain\n(over prompts only)"]


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("rewards", [("red",), ("red", "blue"), ("red", "blue", "green")])
def test_the_legend_lies_within_the_figure(rewards: tuple[str, ...], seeds: int, tmp_path: Path) -> None:
    found = load_results(write_results(tmp_path, Invented(rewards=rewards, seeds=tuple(range(seeds)))))
    with drawing():
        drawn = figure._figure(found, found.analyses())
        drawn.draw_without_rendering()
        (legend,) = drawn.legends
        box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= drawn.bbox.width


@pytest.mark.parametrize(
    ("seconds", "unit"),
    [
        (119.0, Unit("device-seconds", 1)),
        (120.0, Unit("device-minutes", 60)),
        (10799.0, Unit("device-minutes", 60)),
        (10800.0, Unit("device-hours", 3600)),
    ],
)
def test_the_unit_of_time_goes_by_size(seconds: float, unit: Unit) -> None:
    assert time_unit(seconds, gpu=False) == unit
    assert time_unit(seconds, gpu=True).label == unit.label.replace("device", "GPU")


def test_gpu_hours_are_called_so_only_when_all_runs_had_a_gpu(tmp_path: Path) -> None:
    world = Invented(rewards=("red",), seeds=(0,), clock=1000.0)
    for name, device, label in (("a", "cuda:0", "GPU-hours"), ("b", "cpu", "device-hours")):
        found = load_results(write_results(tmp_path / name, replace(world, device=device)))
        assert _axes(found, found.analyses())[1].get_xlabel() == label


def test_labels_are_moved_apart_as_little_as_need_be() -> None:
    assert spread([0.0, 5.0, 9.0], 2.0) == [0.0, 5.0, 9.0]
    assert spread([1.0, 1.0], 2.0) == [0.0, 2.0]
    # 4, 4.5 and 5 become 2.5, 4.5 and 6.5 around their mean
    assert spread([5.0, 4.0, 4.5], 2.0) == [6.5, 2.5, 4.5]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=8))
def test_labels_never_overlap(positions: list[float]) -> None:
    moved = sorted(spread(positions, 1.0))
    assert all(b - a >= 1.0 - 1e-6 for a, b in pairwise(moved))
    assert sum(moved) == pytest.approx(sum(positions), abs=1e-6)
