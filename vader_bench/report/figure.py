"""The figure: reward and truth against queries, reward against FLOPs and device time; a column a reward."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vader_bench.config.names import BASE, UNTRAINED
from vader_bench.report.curve_panel import DASHES, CostAxis, draw_panel, frame_of, shows_seeds
from vader_bench.report.load import Results
from vader_bench.report.style import GREY, LIGHT_GREY, Style, drawing, legend_above, rendered, styles_of
from vader_bench.report.units import gold_unit, reward_unit
from vader_bench.stats import Analysis, Band
from vader_bench.stats.aggregate import aggregate_name

__all__ = ["Unit", "draw", "flop_unit", "time_unit"]

_COLUMN = 2.6
"""Width of a reward's panels in inches, where no width is asked for."""
_ROW = 1.45
_ENTRY = 1.8
"""Width of an entry of the legend, in inches."""
_HEAD = 0.8
"""Height of titles and of the usual legend."""


@dataclass(frozen=True)
class Unit:
    """A unit for an axis."""

    label: str
    size: float
    """In units of the records: seconds, or floating-point operations."""


class _Row(NamedTuple):
    """Panels of one kind, one for each reward."""

    title: str
    axis: str
    unit: Unit
    gold: bool = False
    shared: bool = False
    """Whether the axis is logarithmic, with a mark at the amount that every method has spent."""


def time_unit(longest: float, *, gpu: bool) -> Unit:
    """Return the unit in which ``longest`` seconds read well: seconds, minutes from 2 min, hours from 3 h."""
    device = "GPU" if gpu else "device"
    if longest < 120:
        return Unit(f"{device}-seconds", 1.0)
    return Unit(f"{device}-minutes", 60.0) if longest < 10800 else Unit(f"{device}-hours", 3600.0)


def flop_unit(most: float) -> Unit:
    """Return the unit in which ``most`` floating-point operations read well."""
    for size, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T")):
        if most >= 2 * size:
            return Unit(f"training {prefix}FLOPs", size)
    return Unit("training GFLOPs", 1e9)


def draw(results: Results, analyses: dict[str, Analysis], width: float | None = None) -> dict[str, bytes]:
    """Return the figure as ``png``, ``svg`` and ``pdf``, the same bytes for the same numbers.

    Rows: reward against reward queries; its truth against them, where that is another; reward against FLOPs
    and against device time, both uncut on a logarithmic axis, with a mark at the amount that every method has
    spent. Lines are the aggregate over seeds, bands the 95 % interval of its gain; up to five seeds every one
    is shown as a thin line. Grey lines are the base model and best-of-N of the base model; those far from all
    curves are named at the edge of the panel. Dashed ones in colour are adapters that were not trained here.

    Args:
        results: the records.
        analyses: by reward; others are ``missing``.
        width: of the figure in inches; text has 8 points whatever it is. By default by the number of rewards.
    """
    with drawing():
        return rendered(_figure(results, analyses, width), kinds=("png", "svg", "pdf"))


def _figure(results: Results, analyses: dict[str, Analysis], width: float | None = None) -> Figure:
    rewards, rows = results.experiment.rewards, _rows(results, analyses)
    wide = width or max(4.2, _COLUMN * len(rewards) + 0.6)
    figure = Figure(figsize=(wide, _ROW * len(rows) + _HEAD), layout="constrained")
    axes = figure.subplots(len(rows), len(rewards), squeeze=False)
    styles = styles_of(results.methods, results.families())
    for column, reward in enumerate(rewards):
        axes[0, column].set_title(reward, fontweight="bold")
        analysis = analyses.get(reward)
        if analysis is None:
            _say(axes[:, column], "missing")
        else:
            _column(axes[:, column], rows, analysis, results, styles)
    for ax, row in zip(axes[:, 0], rows, strict=True):
        ax.set_ylabel("\n".join(filter(None, [row.title, ax.get_ylabel()])))
    figure.align_ylabels()
    _legend(figure, results, analyses, styles, wide)
    return figure


def _rows(results: Results, analyses: Mapping[str, Analysis]) -> list[_Row]:
    bands = [band for analysis in analyses.values() for band in analysis.bands.values()]
    most = {
        axis: max((float(band.runs_spent[axis].max()) for band in bands), default=0.0)
        for axis in ("flops", "device_seconds")
    }
    time = time_unit(most["device_seconds"], gpu=_on_gpu(results))
    queries = Unit("reward queries", 1.0)
    rows = [_Row("held-out reward", "queries", queries)]
    if any(analysis.gold_bands and not analysis.panel.own_truth for analysis in analyses.values()):
        rows.append(_Row("truth of the reward", "queries", queries, gold=True))
    rows.append(_Row("held-out reward", "flops", flop_unit(most["flops"]), shared=True))
    rows.append(_Row("held-out reward", "device_seconds", time, shared=True))
    return rows


def _column(
    axes: Iterable[Axes],
    rows: Iterable[_Row],
    analysis: Analysis,
    results: Results,
    styles: Mapping[str, Style],
) -> None:
    reward = analysis.panel.reward
    for ax, row in zip(axes, rows, strict=True):
        bands = analysis.gold_bands if row.gold else analysis.bands
        ax.set_xlabel(row.unit.label)
        if row.gold and analysis.panel.own_truth:
            _say([ax], "a formula, its own truth")
            continue
        if not bands:
            _say([ax], "not measured")
            continue
        lines = _levels(analysis, "gold" if row.gold else "heldout_reward")
        frame = frame_of(bands, lines, BASE)
        cost = CostAxis(row.axis, row.unit.size, analysis.cuts[row.axis] if row.shared else None)
        draw_panel(ax, bands, cost, frame, styles, {arm.name for arm in analysis.adapters})
        ax.set_ylabel((gold_unit if row.gold else reward_unit)(results, reward))


def _levels(analysis: Analysis, key: str) -> dict[str, float]:
    """Return the levels of the untrained rows by their labels, the base model's first."""
    return {
        arm.name.replace("best-of-", "N = "): arm.statistics[key].value
        for arm in analysis.untrained
        if key in arm.statistics
    }


def _say(axes: Iterable[Axes], what: str) -> None:
    for ax in axes:
        ax.text(0.5, 0.5, what, transform=ax.transAxes, ha="center", va="center", color=GREY)
        ax.set_xticks([])
        ax.set_yticks([])


def _on_gpu(results: Results) -> bool:
    return all(record.on_gpu for record in results.records.values() if record.method not in UNTRAINED)


def _legend(
    figure: Figure,
    results: Results,
    analyses: dict[str, Analysis],
    styles: Mapping[str, Style],
    width: float,
) -> None:
    bands: dict[str, Band] = {name: band for a in analyses.values() for name, band in a.bands.items()}
    handles: list[Line2D | Patch] = []
    for method in (name for name in results.methods if name in bands):
        colour, marker, line = styles[method]
        look: dict[str, Any] = {"marker": marker, "markersize": 4.5, "linewidth": 1.6, "linestyle": line}
        if not results.trained(method):
            look = {"linestyle": DASHES, "linewidth": 1.4}
        handles.append(Line2D([], [], color=colour, label=method, **look))
    seeds = sorted({len(analysis.panel.seeds) for analysis in analyses.values()})
    if seeds:
        over = "over prompts only" if seeds == [1] else f"{aggregate_name(seeds[-1])} over seeds"
        label = f"95 % interval of the gain\n({over})"
        handles.append(Patch(color=GREY, alpha=0.25, linewidth=0, label=label))
    if any(map(shows_seeds, seeds)):
        handles.append(Line2D([], [], color=GREY, linewidth=0.6, label="single seeds"))
    if any(len(analysis.untrained) > 1 for analysis in analyses.values()):
        style = (0, (4, 2))
        label = "best of N samples\nof the base model"
        handles.append(Line2D([], [], color=LIGHT_GREY, linewidth=0.8, linestyle=style, label=label))
    if seeds:
        style = (0, (1, 2))
        label = "spent by every method"
        handles.append(Line2D([], [], color=LIGHT_GREY, linewidth=0.8, linestyle=style, label=label))
    columns = max(1, min(len(handles), int(width / _ENTRY)))
    legend_above(figure, handles, columns)
