"""The figure of over-optimisation against the distance from the base model, with the fitted forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vader_bench.report.distance import Distances
from vader_bench.report.load import Results
from vader_bench.report.style import GREY, Style, drawing, legend_above, lines_of, rendered
from vader_bench.stats import BestOf, Law
from vader_bench.stats.aggregate import over_seeds

__all__ = ["draw_distances"]

_ROWS = {"reward": "reward gain", "gold": "truth gain", "prompt_share": "prompt share gain"}
_MARGIN = 0.08

_Styles: TypeAlias = Mapping[str, Style]


def draw_distances(results: Results, found: Distances) -> dict[str, bytes]:
    """Return the figure as ``png``, ``svg`` and ``pdf``.

    One column a reward; rows: gains of the reward, its truth and the share of the prompt against the root
    of the path KL on a logarithmic axis. A point is a look of one arm, its seeds put together. The band
    across the truth gain is the form of Gao et al. that leaves less over, fitted to all arms of a method,
    with its 95 % interval. Grey: best-of-N of the base model at its own distance.
    """
    rewards = [reward for reward in results.experiment.rewards if found.laws[reward]]
    styles = lines_of(results.families())
    with drawing():
        figure = Figure(figsize=(2.9 * len(rewards) + 0.6, 2.1 * len(_ROWS) + 0.6), layout="constrained")
        axes = figure.subplots(len(_ROWS), len(rewards), squeeze=False, sharex="col")
        for column, reward in enumerate(rewards):
            axes[0, column].set_title(reward, fontweight="bold")
            axes[-1, column].set_xlabel("root of the path KL (nats, logarithmic)")
            for ax, name in zip(axes[:, column], _ROWS, strict=True):
                _draw(ax, name, found.laws[reward], found.best_of[reward], styles)
        for row, title in zip(axes, _ROWS.values(), strict=True):
            row[0].set_ylabel(title)
        figure.align_ylabels()
        legend_above(figure, _handles(styles), 2 * len(rewards))
        return rendered(figure, kinds=("png", "svg", "pdf"))


def _draw(ax: Axes, name: str, laws: Mapping[str, Law], best_of: list[BestOf], styles: _Styles) -> None:
    heights = [0.0]
    for law in laws.values():
        points = law.cloud
        if name not in points.gains:
            continue
        gains, distance = over_seeds(points.gains[name].mean(axis=-1)), over_seeds(points.distance)
        heights += gains.ravel().tolist()
        for arm, x, y in zip(points.arms, distance, gains, strict=True):
            colour, marker, line = styles[arm]
            style: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": line}
            ax.plot(x, y, markersize=3.0, linewidth=0.8, alpha=0.8, **style)
        if name == "gold":
            _draw_fit(ax, law, styles[points.arms[0]][0])
    chosen = [one for one in best_of if name in one.gains]
    heights += [one.gains[name].value for one in chosen]
    x, y = [one.distance for one in chosen], [one.gains[name].value for one in chosen]
    ax.plot(x, y, color=GREY, linestyle="--", marker=".", linewidth=1.0, zorder=1)
    margin = _MARGIN * ((max(heights) - min(heights)) or 1.0)
    ax.set_ylim(min(heights) - margin, max(heights) + margin)
    ax.set_xscale("log")
    ax.axhline(0, color=GREY, linestyle=":", linewidth=1.0)
    ax.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    ax.locator_params(axis="y", nbins=5)


def _draw_fit(ax: Axes, law: Law, colour: str) -> None:
    fit, distance = law.closer, law.cloud.distance
    if fit is None:
        return
    grid = np.geomspace(distance[distance > 0].min(), distance.max(), 60)
    curve = fit.curve(grid)
    ax.fill_between(grid, *curve.bounds(), color=colour, alpha=0.13, linewidth=0, zorder=0.5)
    ax.plot(grid, curve.point, color=colour, linewidth=2.2, alpha=0.6, zorder=1.5)


def _handles(styles: _Styles) -> list[Line2D]:
    made = [
        Line2D([], [], color=colour, marker=marker, linestyle=line, markersize=4.0, linewidth=1.0, label=arm)
        for arm, (colour, marker, line) in styles.items()
    ]
    made.append(Line2D([], [], color=GREY, linewidth=2.2, alpha=0.6, label="fitted form"))
    return [*made, Line2D([], [], color=GREY, linestyle="--", marker=".", label="best-of-N of the base")]
