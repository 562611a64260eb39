from __future__ import annotations

import re
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
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from tests.support.results import Invented, write_results
from vader_bench.report import figure
from vader_bench.report.curve_panel import frame_of, spread
from vader_bench.report.figure import Unit, draw, flop_unit, time_unit
from vader_bench.report.load import Results, load_results
from vader_bench.report.style import drawing, legend_above, rendered, style_of, styles_of
from vader_bench.stats import Analysis, Estimate


def _axes(results: Results, analyses: dict[str, Analysis]) -> list[Axes]:
    return figure._figure(results, analyses).axes


def _texts(ax: Axes) -> set[str]:
    return {text.get_text() for text in ax.texts}


@pytest.mark.usefixtures("fine_pictures")
def test_all_files_are_drawn_and_the_same_each_time(results: Results, analyses: dict[str, Analysis]) -> None:
    first, second = draw(results, analyses), draw(results, analyses)
    assert first == second
    assert list(first) == ["png", "svg", "pdf"]
    assert matplotlib.image.imread(BytesIO(first["png"])).shape[0] > 800
    root = ET.fromstring(first["svg"].decode())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert b"date" not in first["svg"].lower()
    assert b"CreationDate" not in first["pdf"]


def test_a_png_of_few_colours_is_what_was_drawn(
    results: Results, analyses: dict[str, Analysis], fine_pictures: int
) -> None:
    """A third of the bytes, and no colour that a person would see to be another."""
    whole = BytesIO()
    with drawing():
        drawn = figure._figure(results, analyses)
        drawn.savefig(whole, format="png", dpi=fine_pictures)
        compact = rendered(drawn, kinds=["png"])["png"]
    assert len(compact) < len(whole.getvalue()) / 2
    colours, few = (
        np.asarray(Image.open(BytesIO(png)).convert("RGB"), float) for png in (whole.getvalue(), compact)
    )
    assert np.abs(colours - few).mean() < 0.5  # of 255
    assert np.quantile(np.abs(colours - few).max(axis=-1), 0.999) < 16


def test_text_is_text(results: Results, analyses: dict[str, Analysis]) -> None:
    """In a PDF with fonts of type 42, which are whole TrueType outlines that journals take."""
    drawn = draw(results, analyses)
    texts = ET.fromstring(drawn["svg"].decode()).iter("{http://www.w3.org/2000/svg}text")
    assert {"reward queries", "vader", "red"} <= {"".join(text.itertext()) for text in texts}
    assert b"/CIDFontType2" in drawn["pdf"]
    assert b"/Type3" not in drawn["pdf"]


@pytest.mark.parametrize("width", [3.3, 5.5, 7.0])
def test_a_figure_for_a_paper_has_its_width_and_text_of_8_points(
    width: float, results: Results, analyses: dict[str, Analysis]
) -> None:
    with drawing():
        drawn = figure._figure(results, analyses, width)
        drawn.draw_without_rendering()
        (legend,) = drawn.legends
        box = legend.get_window_extent()
    assert drawn.get_size_inches()[0] == width
    assert {label.get_fontsize() for ax in drawn.axes for label in (ax.xaxis.label, ax.yaxis.label)} == {8.0}
    assert {text.get_fontsize() for text in legend.get_texts()} == {8.0}
    assert (box.x0 >= 0, box.x1 <= drawn.bbox.width) == (True, True)


def test_drawing_leaves_matplotlib_as_it_was(results: Results, analyses: dict[str, Analysis]) -> None:
    before = dict(mpl.rcParams)
    draw(results, analyses)
    assert dict(mpl.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_one_column_a_reward_with_units_on_the_axes(results: Results, analyses: dict[str, Analysis]) -> None:
    """Rows: reward, truth, and two costs."""
    axes = _axes(results, analyses)
    assert len(axes) == 8
    assert [ax.get_title() for ax in axes[:2]] == ["red", "blue"]
    assert [ax.get_xlabel() for ax in axes[::2]] == [
        "reward queries",
        "reward queries",
        "training GFLOPs",
        "device-seconds",
    ]
    assert [ax.get_ylabel() for ax in axes[::2]] == [
        "held-out reward\nin [-1, 1]",
        "truth of the reward\nluma in [0, 1]",
        "held-out reward\nin [-1, 1]",
        "held-out reward\nin [-1, 1]",
    ]
    assert axes[0].get_ylim() == axes[4].get_ylim() == axes[6].get_ylim()


def _ends(ax: Axes) -> list[tuple[float, float]]:
    wide = [line for line in ax.lines if line.get_linewidth() == 1.6]
    return [
        (float(np.asarray(x)[-1]), float(np.asarray(y)[-1])) for x, y in (line.get_data() for line in wide)
    ]


def test_the_last_points_are_the_tables_on_every_axis(
    results: Results, analyses: dict[str, Analysis]
) -> None:
    """No curve is cut, whatever it costs."""
    axes, red = _axes(results, analyses)[::2], analyses["red"]
    for ax, key in zip(axes, ("heldout_reward", "gold", "heldout_reward", "heldout_reward"), strict=True):
        table = [red.arm(name) for name in ("vader", "ddpo", "diffusion-dpo")]
        levels = [arm.statistics[key].value for arm in table if arm is not None]
        assert [level for _, level in _ends(ax)] == pytest.approx(levels, rel=1e-12)
    assert [x for x, _ in _ends(axes[0])] == [64] * 3
    for ax, axis, size in ((axes[2], "flops", 1e9), (axes[3], "device_seconds", 1.0)):
        spent = [float(red.bands[name].spent[axis][-1]) / size for name in results.methods]
        assert [x for x, _ in _ends(ax)] == pytest.approx(spent)
        assert ax.get_xscale() == "log"
    assert len({x for x, _ in _ends(axes[3])}) == 3


def test_what_every_method_has_spent_is_marked(results: Results, analyses: dict[str, Analysis]) -> None:
    bottom = _axes(results, analyses)[6]
    places = [np.asarray(line.get_xdata()).tolist() for line in bottom.lines if line.get_linewidth() == 0.8]
    upright = [x[0] for x in places if x[0] == x[-1]]
    assert upright == pytest.approx([analyses["red"].cuts["device_seconds"]])


def test_without_a_truth_there_is_no_row_of_it(tmp_path: Path) -> None:
    world = Invented(rewards=("red",), gold=lambda _: None)
    found = load_results(write_results(tmp_path, world))
    assert [ax.get_xlabel() for ax in _axes(found, found.analyses())] == [
        "reward queries",
        "training GFLOPs",
        "device-seconds",
    ]


def test_a_formula_is_not_drawn_a_second_time_as_its_own_truth(
    results: Results, analyses: dict[str, Analysis]
) -> None:
    red = analyses["red"]
    formula = replace(red, panel=replace(red.panel, gold_curve=red.panel.curve))
    one, beside = {"red": formula}, analyses | {"red": formula}
    assert not [ax for ax in _axes(results, one) if "truth" in ax.get_ylabel()]
    truths = _axes(results, beside)[2:4]  # of two columns the second row
    assert _texts(truths[0]) == {"a formula, its own truth"}
    assert truths[1].lines


def test_up_to_five_seeds_are_shown_and_more_are_not(
    results: Results, analyses: dict[str, Analysis], tmp_path: Path
) -> None:
    def thin(ax: Axes) -> int:
        return sum(line.get_linewidth() == 0.6 for line in ax.lines)

    assert thin(_axes(results, analyses)[0]) == 3 * 3
    for seeds in (5, 6):
        world = Invented(rewards=("red",), seeds=tuple(range(seeds)))
        many = load_results(write_results(tmp_path / str(seeds), world))
        assert thin(_axes(many, many.analyses())[0]) == (3 * 5 if seeds == 5 else 0)


def test_best_of_n_alone_does_not_set_the_y_axis(analyses: dict[str, Analysis]) -> None:
    """A line is drawn where the curves keep half of the axis, and named at its edge where they would not."""
    bands = analyses["red"].bands
    values = np.concatenate([np.ravel(part) for b in bands.values() for part in (b.low, b.high, b.runs)])
    low, high = float(values.min()), float(values.max())
    near, far, below = high + 0.4 * (high - low), high + 3 * (high - low), low - 2 * (high - low)
    frame = frame_of(bands, {"base": low, "N = 2": near, "N = 8": far, "N = 9": below}, "base")
    assert set(frame.inside) == {"base", "N = 2"}
    assert frame.beyond == {"N = 8": far, "N = 9": below}
    assert near < frame.high < far
    assert below < frame.low < low
    assert (high - low) / (frame.high - frame.low) > 0.5
    size = near - low  # what names levels beyond is written over no curve: a line of text takes a tenth
    assert frame.high - near > 0.15 * size
    assert low - frame.low > 0.15 * size


def test_a_line_that_is_far_is_named_at_the_edge(results: Results, analyses: dict[str, Analysis]) -> None:
    red = analyses["red"]
    flat = {
        name: replace(band, value=band.value * 0 + 0.5, low=band.low * 0 + 0.49, high=band.high * 0 + 0.51,
                      runs=band.runs * 0 + 0.5)
        for name, band in red.bands.items()
    }  # fmt: skip
    untrained = [
        replace(arm, statistics={"heldout_reward": Estimate(level, level, level)})
        for arm, level in zip(red.untrained, (0.5, 0.7, 0.9), strict=True)
    ]
    arms = [*untrained, *(arm for arm in red.arms if arm.seeds)]
    top = _axes(results, {"red": replace(red, arms=arms, bands=flat, gold_bands={})})[0]
    assert _texts(top) == {"base", "\N{UPWARDS ARROW} N = 2: 0.7, 4: 0.9"}
    assert top.get_ylim()[1] < 0.53


def test_base_and_best_of_n_are_labelled(results: Results, analyses: dict[str, Analysis]) -> None:
    """Beside their lines, or at the edge of the panel."""
    for ax in _axes(results, analyses):
        said = " ".join(sorted(_texts(ax)))
        assert "base" in said
        assert set(re.findall(r"(?:N =|,) (\d)", said)) == {"2", "4"}


def test_methods_differ_in_colour_and_marker() -> None:
    methods = ("vader", "ddpo", "diffusion-dpo", "other", "more")
    styles = [style_of(method, methods) for method in methods]
    assert len({colour for colour, _ in styles}) == len({marker for _, marker in styles}) == 5


def test_as_many_arms_as_an_ablation_has_differ_too() -> None:
    arms = [f"k-{number}" for number in range(8)]
    assert len({style_of(arm, arms) for arm in arms}) == 8


def test_of_many_arms_no_two_look_alike_and_those_of_a_method_belong_together() -> None:
    families = {method: [f"{method}-{n}" for n in range(3)] for method in ("vader", "ddpo", "nft", "raft")}
    arms = [*(arm for found in families.values() for arm in found), "published"]
    styles = styles_of(arms, families)
    assert len(set(styles.values())) == len(arms) == 13
    for method, members in families.items():
        assert {styles[arm][:2] for arm in members} == {style_of(method, list(families))}


def test_few_arms_keep_colours_of_their_own() -> None:
    styles = styles_of(["k-1", "k-8"], {"vader": ["k-1", "k-8"]})
    assert len({colour for colour, _, _ in styles.values()}) == 2
    assert {line for _, _, line in styles.values()} == {"-"}


def test_a_legend_has_as_many_columns_as_the_figure_is_wide_enough_for() -> None:
    for name, columns in (("arm", 3), ("an arm with a long name", 2), ("a name that fills a line " * 3, 1)):
        with drawing():
            drawn = Figure(figsize=(4.2, 4), layout="constrained")
            drawn.subplots()
            legend_above(drawn, [Line2D([], [], label=f"{name} {n}") for n in range(9)], 3)
            drawn.draw_without_rendering()
            (legend,) = drawn.legends
            assert len({round(text.get_window_extent().x0) for text in legend.get_texts()}) == columns


def test_a_reward_without_results_says_missing(results: Results, analyses: dict[str, Analysis]) -> None:
    axes = _axes(results, {"red": analyses["red"]})
    assert _texts(axes[1]) == _texts(axes[3]) == _texts(axes[7]) == {"missing"}
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
        "best of N samples\nof the base model",
        "spent by every method",
    ]
    assert words[1][3:4] == ["95 % interval of the gain\n(over prompts only)"]
    assert "single seeds" not in words[1]


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


def test_a_high_legend_takes_nothing_from_the_panels(results: Results, analyses: dict[str, Analysis]) -> None:
    legends, panels = [], []
    for width in (3.3, 8.4):
        with drawing():
            drawn = figure._figure(results, analyses, width)
            drawn.draw_without_rendering()
        legends.append(drawn.legends[0].get_window_extent().height)
        panels.append([ax.bbox.height for ax in drawn.axes])
    assert legends[0] > 2 * legends[1]
    assert panels[0] == pytest.approx(panels[1], rel=0.1)


def test_so_do_the_arms_of_a_large_experiment() -> None:
    heights = []
    for arms in (12, 21):
        with drawing():
            drawn = Figure(figsize=(6, 4), layout="constrained")
            ax = drawn.subplots()
            legend_above(drawn, [Line2D([], [], label=f"arm {n}") for n in range(arms)], 3)
            drawn.draw_without_rendering()
        heights.append(ax.bbox.height)
    assert heights[0] == pytest.approx(heights[1], rel=0.02)


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


@pytest.mark.parametrize(
    ("flops", "unit"),
    [(6.4e10, "GFLOPs"), (2e12, "TFLOPs"), (3e15, "PFLOPs"), (3e18, "EFLOPs")],
)
def test_the_unit_of_flops_goes_by_size(flops: float, unit: str) -> None:
    assert flop_unit(flops).label == f"training {unit}"


def test_gpu_hours_are_called_so_only_when_all_runs_had_a_gpu(tmp_path: Path) -> None:
    world = Invented(rewards=("red",), seeds=(0,), clock=1000.0)
    for name, device, label in (("a", "cuda:0", "GPU-hours"), ("b", "cpu", "device-hours")):
        found = load_results(write_results(tmp_path / name, replace(world, device=device)))
        assert _axes(found, found.analyses())[3].get_xlabel() == label


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
