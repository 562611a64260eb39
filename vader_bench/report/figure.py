"""The figure: held-out reward against reward queries, and against device time, one column a reward."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vader_bench.config.names import BASE
from vader_bench.report.load import Results
from vader_bench.report.style import GREY, LIGHT_GREY, drawing, rendered, style_of
from vader_bench.stats import Analysis, Band
from vader_bench.stats.aggregate import FEW_SEEDS, FloatArray, aggregate_name, value_at

__all__ = ["Unit", "draw", "spread", "time_unit"]

_Inside: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Unit:
    """A unit of time for an axis."""

    label: str
    seconds: float


def time_unit(longest: float, *, gpu: bool) -> Unit:
    """Return the unit in which ``longest`` seconds read well: seconds, minutes from 2 min, hours from 3 h."""
    device = "GPU" if gpu else "device"
    if longest < 120:
        return Unit(f"{device}-seconds", 1.0)
    return Unit(f"{device}-minutes", 60.0) if longest < 10800 else Unit(f"{device}-hours", 3600.0)


def draw(results: Results, analyses: dict[str, Analysis]) -> dict[str, bytes]:
    """Return the figure as ``png`` and ``svg``, the same bytes for the same numbers.

    Top row: reward queries on x; bottom row: device time, every curve cut at the amount that all methods
    have spent. Lines are the aggregate over seeds, bands the 95 % interval of its gain; below five seeds
    every seed is shown as a thin line. Grey lines are the base model and best-of-N of the base model.
    """
    with drawing():
        return rendered(_figure(results, analyses))


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Return ``positions`` moved as little as need be to lie at least ``gap`` apart, in the same order."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    clusters: list[list[int]] = []
    for index in order:
        clusters.append([index])
        while len(clusters) > 1 and _low(clusters[-1], positions, gap) < _low(
            clusters[-2], positions, gap
        ) + gap * len(clusters[-2]):
            last = clusters.pop()
            clusters[-1] += last
    moved = list(positions)
    for cluster in clusters:
        for rank, index in enumerate(cluster):
            moved[index] = _low(cluster, positions, gap) + gap * rank
    return moved


def _low(cluster: list[int], positions: Sequence[float], gap: float) -> float:
    """Return where a cluster of labels starts when it is centred on the mean of its positions."""
    return sum(positions[i] for i in cluster) / len(cluster) - gap * (len(cluster) - 1) / 2


def _figure(results: Results, analyses: dict[str, Analysis]) -> Figure:
    rewards = results.experiment.rewards
    figure = Figure(figsize=(max(4.2, 2.75 * len(rewards) + 0.4), 4.9), layout="constrained")
    axes = figure.subplots(2, len(rewards), squeeze=False, sharey="col")
    cuts = [analysis.cuts["device_seconds"] for analysis in analyses.values()]
    unit = time_unit(max(cuts, default=0.0), gpu=_on_gpu(results))
    for column, reward in enumerate(rewards):
        top, bottom = axes[0, column], axes[1, column]
        top.set_title(reward, fontweight="bold")
        analysis = analyses.get(reward)
        if analysis is None:
            _say_missing((top, bottom))
            continue
        _panel(top, analysis, "queries", 1.0, results.methods)
        _panel(bottom, analysis, "device_seconds", unit.seconds, results.methods)
        top.set_xlabel("reward queries")
        bottom.set_xlabel(unit.label)
    for row in axes:
        row[0].set_ylabel("held-out reward")
    figure.align_ylabels()
    _legend(figure, results, analyses)
    return figure


def _say_missing(axes: Iterable[Axes]) -> None:
    for ax in axes:
        ax.text(0.5, 0.5, "missing", transform=ax.transAxes, ha="center", va="center", color=GREY)
        ax.set_xticks([])


def _on_gpu(results: Results) -> bool:
    return all(record.on_gpu for record in results.records.values() if record.method != BASE)


def _panel(ax: Axes, analysis: Analysis, axis: str, scale: float, methods: Sequence[str]) -> None:
    end = analysis.cuts[axis]
    for rank, (method, band) in enumerate(analysis.bands.items()):
        _band(ax, band, axis, scale, end, (*style_of(method, methods), 5.0 - 0.1 * rank))
    ax.set_xlim(0, end / scale * 1.02)
    ax.margins(y=0.08)
    looks = analysis.panel.looks
    if axis == "queries" and len(looks) <= 7:
        ax.set_xticks(looks)
    else:
        ax.locator_params(axis="x", nbins=5)
    ax.locator_params(axis="y", nbins=6)
    ax.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    ax.set_axisbelow(True)
    _reference_lines(ax, {a.name: a.statistics["heldout_reward"].value for a in analysis.untrained})


def _band(ax: Axes, band: Band, axis: str, scale: float, end: float, style: tuple[str, str, float]) -> None:
    colour, marker, order = style
    x, inside = _cut(band.spent[axis], end)
    value, low, high = (_along(band.spent[axis], y, x, inside) for y in (band.value, band.low, band.high))
    ax.fill_between(x / scale, low, high, color=colour, alpha=0.16, linewidth=0, zorder=order - 2)
    if 1 < len(band.runs) < FEW_SEEDS:
        for spent, run in zip(band.runs_spent[axis], band.runs, strict=True):
            own, kept = _cut(spent, end)
            line = _along(spent, run, own, kept)
            ax.plot(own / scale, line, color=colour, linewidth=0.6, alpha=0.55, zorder=order - 1)
    ax.plot(x / scale, value, color=colour, linewidth=1.6, zorder=order)
    looks = len(band.spent[axis][inside])
    ax.plot(
        x[:looks] / scale, value[:looks], marker, color=colour, markersize=4, markeredgecolor="white",
        markeredgewidth=0.5, zorder=order, clip_on=False,
    )  # fmt: skip


def _cut(spent: FloatArray, end: float) -> tuple[FloatArray, _Inside]:
    """Return the points of x up to ``end``, with ``end`` itself, and which looks lie within."""
    inside = np.asarray(spent <= end * (1 + 1e-9))
    x = spent[inside]
    return np.asarray(x if inside.all() else np.append(x, end)), inside


def _along(spent: FloatArray, y: FloatArray, x: FloatArray, inside: _Inside) -> FloatArray:
    """Return ``y`` at the looks within, and between looks at the cut where one was added."""
    kept = y[inside]
    return kept if len(kept) == len(x) else np.asarray(np.append(kept, value_at(spent, y, float(x[-1]))))


def _reference_lines(ax: Axes, lines: dict[str, float]) -> None:
    """Draw base model and best-of-N across the panel, their labels to its right."""
    for name, value in lines.items():
        style = ":" if name == "base" else (0, (4, 2))
        colour, width = (GREY, 1.1) if name == "base" else (LIGHT_GREY, 0.8)
        ax.axhline(value, color=colour, linestyle=style, linewidth=width, zorder=1.5)
    low, high = ax.get_ylim()
    heights = spread(list(lines.values()), 0.062 * (high - low))
    for name, height in zip(lines, heights, strict=True):
        label = name.replace("best-of-", "best of ")
        ax.annotate(
            label, (1.0, height), xycoords=("axes fraction", "data"), xytext=(3, 0), annotation_clip=False,
            textcoords="offset points", va="center", fontsize=6.5, color=GREY,
        )  # fmt: skip


def _legend(figure: Figure, results: Results, analyses: dict[str, Analysis]) -> None:
    shown = [m for m in results.methods if any(m in a.bands for a in analyses.values())]
    handles: list[Line2D | Patch] = []
    for method in shown:
        colour, marker = style_of(method, results.methods)
        handles.append(
            Line2D([], [], color=colour, marker=marker, markersize=4.5, linewidth=1.6, label=method)
        )
    seeds = sorted({len(analysis.panel.seeds) for analysis in analyses.values()})
    if seeds:
        over = "over prompts only" if seeds == [1] else f"{aggregate_name(seeds[-1])} over seeds"
        label = f"95 % interval of the gain\n({over})"
        handles.append(Patch(color=GREY, alpha=0.25, linewidth=0, label=label))
    if seeds and 1 < seeds[0] < FEW_SEEDS:
        handles.append(Line2D([], [], color=GREY, linewidth=0.6, label="single seeds"))
    columns = len(handles) if len(results.experiment.rewards) > 2 else 2  # as many as the width holds
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False)
