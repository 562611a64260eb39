"""One panel of the figure: the curves of all methods on one reward against what was spent."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from vader_bench.report.style import GREY, LIGHT_GREY, SMALL, Style, note_at_edge
from vader_bench.stats import Band
from vader_bench.stats.aggregate import FEW_SEEDS, FloatArray

__all__ = ["DASHES", "CostAxis", "Frame", "draw_panel", "frame_of", "shows_seeds", "spread"]

_MARGIN = 0.06
_FOR_NAMES = 0.2
"""As much, where levels beyond the panel are named: no curve runs beneath them."""
DASHES = (0, (6, 1.5, 1.5, 1.5))
"""Of lines of adapters that were not trained here."""


@dataclass(frozen=True)
class Frame:
    """The y axis of a panel, and the lines across it."""

    low: float
    high: float
    inside: dict[str, float]
    """Lines that are drawn, by their labels."""
    beyond: dict[str, float]
    """Lines that are named only: drawn, they would press the curves into a corner."""


def frame_of(bands: Mapping[str, Band], lines: Mapping[str, float], base: str) -> Frame:
    """Return a y axis that holds all curves, and of ``lines`` those that leave the curves half of it.

    Args:
        bands: the curves by method.
        lines: levels of the untrained model and of best-of-N, by label.
        base: the label of the untrained model, which is always held.
    """
    parts = [part for band in bands.values() for part in (band.value, band.low, band.high)]
    parts += [band.runs for band in bands.values() if shows_seeds(len(band.runs))]
    parts += [np.asarray([lines[base]])] if base in lines else []
    values = np.concatenate([np.ravel(part) for part in parts])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = (high - low) / 2 or abs(high) / 100 or 1.0
    inside = {name: value for name, value in lines.items() if low - room <= value <= high + room}
    low, high = min([low, *inside.values()]), max([high, *inside.values()])
    beyond = {name: value for name, value in lines.items() if name not in inside}
    size = (high - low) or 2 * room
    above = _FOR_NAMES if any(value > high for value in beyond.values()) else _MARGIN
    below = _FOR_NAMES if any(value < low for value in beyond.values()) else _MARGIN
    return Frame(low - below * size, high + above * size, inside, beyond)


def shows_seeds(seeds: int) -> bool:
    """Return whether every one of so many seeds is drawn by itself."""
    return 1 < seeds <= FEW_SEEDS


class CostAxis(NamedTuple):
    """An x axis of what was spent."""

    key: str
    """See ``stats.AXES``."""
    size: float
    """Of its unit, in units of the records."""
    shared: float | None = None
    """An amount that every method has spent, to be marked. The axis is then logarithmic and starts at the
    first look after the start, which is the first that a logarithm can show."""


def draw_panel(
    ax: Axes,
    bands: Mapping[str, Band],
    cost: CostAxis,
    frame: Frame,
    styles: Mapping[str, Style],
    untrained: Collection[str] = (),
) -> None:
    """Draw ``bands`` by method against what was spent.

    Args:
        ax: where.
        bands: the curves by method.
        cost: the x axis.
        frame: the y axis.
        styles: colour, marker and line style by method.
        untrained: those that are adapters from a file: they spend nothing, and are lines across the panel.
    """
    for rank, (method, band) in enumerate(bands.items()):
        order = 5.0 - 0.1 * rank
        if method in untrained:
            _draw_level(ax, band, styles[method], order)
        else:
            _draw_band(ax, band, cost, styles[method], order)
    if cost.shared is None:
        looks = next(band.spent[cost.key] for name, band in bands.items() if name not in untrained)
        _linear(ax, looks / cost.size)
    else:
        _logarithmic(ax)
        mark = cost.shared / cost.size
        ax.axvline(mark, color=LIGHT_GREY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1.4)
    ax.set_ylim(frame.low, frame.high)
    ax.locator_params(axis="y", nbins=5)
    ax.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    ax.set_axisbelow(True)
    _lines(ax, frame)


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


def _draw_band(ax: Axes, band: Band, cost: CostAxis, style: Style, order: float) -> None:
    axis, scale, logarithmic = cost.key, cost.size, cost.shared is not None
    colour, marker, line = style
    spent, value, low, high = _from(logarithmic, band.spent[axis], band.value, band.low, band.high)
    ax.fill_between(spent / scale, low, high, color=colour, alpha=0.16, linewidth=0, zorder=order - 2)
    if shows_seeds(len(band.runs)):
        for own, run in zip(band.runs_spent[axis], band.runs, strict=True):
            x, y = _from(logarithmic, own, run)
            ax.plot(x / scale, y, color=colour, linewidth=0.6, alpha=0.55, zorder=order - 1)
    ax.plot(
        spent / scale, value, marker=marker, color=colour, linestyle=line, linewidth=1.6, markersize=4,
        markeredgecolor="white", markeredgewidth=0.5, zorder=order, clip_on=False,
    )  # fmt: skip


def _draw_level(ax: Axes, band: Band, style: Style, order: float) -> None:
    """Draw adapters from a file, which spend nothing, as a line across the panel."""
    colour = style[0]
    ax.axhspan(band.low[-1], band.high[-1], color=colour, alpha=0.10, linewidth=0, zorder=order - 2)
    ax.axhline(band.value[-1], color=colour, linewidth=1.4, linestyle=DASHES, zorder=order)


def _from(logarithmic: bool, spent: FloatArray, *curves: FloatArray) -> list[FloatArray]:
    """Return ``spent`` and ``curves`` from the first amount on that the axis can show."""
    shown = spent > 0 if logarithmic else np.ones(len(spent), dtype=bool)
    return [part[shown] for part in (spent, *curves)]


def _linear(ax: Axes, looks: FloatArray) -> None:
    ax.set_xlim(0, float(looks[-1]) * 1.02)
    if len(looks) <= 5:
        ax.set_xticks(looks)
    else:
        ax.locator_params(axis="x", nbins=5)


def _logarithmic(ax: Axes) -> None:
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=_subs(high / low), numticks=50))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _subs(ratio: float) -> tuple[float, ...]:
    """Return the multiples of powers of ten that have ticks: as many as leave room for their numbers."""
    if ratio < 15:
        return 1.0, 2.0, 5.0
    return (1.0, 3.0) if ratio < 150 else (1.0,)


def _lines(ax: Axes, frame: Frame) -> None:
    """Draw the lines across the panel, their labels to its right; name those beyond it at its top."""
    for rank, value in enumerate(frame.inside.values()):
        colour, width, style = (GREY, 1.1, ":") if rank == 0 else (LIGHT_GREY, 0.8, (0, (4, 2)))
        ax.axhline(value, color=colour, linestyle=style, linewidth=width, zorder=1.5)
    heights = spread(list(frame.inside.values()), 0.085 * (frame.high - frame.low))
    for name, height in zip(frame.inside, heights, strict=True):
        ax.annotate(
            name, (1.0, height), xycoords=("axes fraction", "data"), xytext=(3, 0), annotation_clip=False,
            textcoords="offset points", va="center", fontsize=SMALL, color=GREY,
        )  # fmt: skip
    for above, height in ((True, 0.97), (False, 0.03)):
        said = {name: value for name, value in frame.beyond.items() if (value > frame.high) == above}
        if said:
            note_at_edge(ax, (0.03, height), above, _listed(said))


def _listed(levels: Mapping[str, float]) -> str:
    """Return levels that share the beginning of their names, which is said once: ``N = 4: 0.71, 8: 0.83``."""
    start = next(iter(levels)).rpartition(" ")[0]
    return f"{start} " + ", ".join(
        f"{name.rpartition(' ')[2]}: {value:.3g}" for name, value in levels.items()
    )
