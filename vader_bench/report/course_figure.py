"""The figure of over-optimisation: what happens to everything else while the reward is raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vader_bench.report.load import Results
from vader_bench.report.style import GREY, Style, drawing, legend_above, rendered, styles_of
from vader_bench.stats import Analysis, Course, Estimate, FrontierRow, course, frontier

__all__ = ["draw_course"]


class _Row(NamedTuple):
    title: str
    pick: Callable[[Course], Estimate]


_ROWS = (
    _Row("reward gain", lambda state: state.gain),
    _Row("truth gain", lambda state: state.gold_gain),
    _Row("prompt share gain", lambda state: state.prompt_share_gain),
    _Row("diversity", lambda state: state.diversity),
    _Row("motion", lambda state: state.motion),
    _Row("path KL (nats)", lambda state: state.path_kl),
)


class _Trade(NamedTuple):
    """A panel of what is measured beside the reward, against the reward."""

    title: str
    key: str
    """In the statistics of an arm."""
    pick: Callable[[FrontierRow], Estimate]


_TRADES = (
    _Trade("truth", "gold", lambda row: row.gold),
    _Trade("share of the prompt", "prompt_share", lambda row: row.prompt_share),
)


def draw_course(results: Results, analyses: dict[str, Analysis]) -> dict[str, bytes] | None:
    """Return the figure as ``png``, ``svg`` and ``pdf``; ``None`` where the course was not measured.

    One column a reward. Upper rows: reward, its truth, the share of the prompt, diversity, motion and path
    divergence against reward queries, with 95 % intervals. Last rows: truth and share of the prompt against
    the reward, along the scales of the adapters, and along N for best-of-N of the base model. A row of which
    nothing was measured is left out.
    """
    if not any(record.has_path_kl for record in results.records.values()):
        return None
    rewards = results.experiment.rewards
    records = {
        (reward, arm): found
        for reward in rewards
        for arm in results.methods
        if (found := results.compared(reward, arm))
    }
    courses = {key: course(found) for key, found in records.items() if results.trained(key[1])}
    frontiers = {key: frontier(found) for key, found in records.items()}
    states = [state for found in courses.values() for state in found]
    points = [point for found in frontiers.values() for point in found]
    rows = [row for row in _ROWS if any(not row.pick(state).absent for state in states)]
    trades = [trade for trade in _TRADES if any(not trade.pick(point).absent for point in points)]
    if not rows:  # no seed is complete
        return None
    styles = styles_of(results.methods, results.families())
    with drawing():
        size = (2.9 * len(rewards) + 0.6, 1.6 * (len(rows) + len(trades)))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(rows) + len(trades), len(rewards), squeeze=False)
        for column, reward in enumerate(rewards):
            axes[0, column].set_title(reward, fontweight="bold")
            for ax, row in zip(axes[:, column], rows, strict=False):
                along = {arm: found for (name, arm), found in courses.items() if name == reward}
                _draw_row(ax, row, along, styles)
            axes[len(rows) - 1, column].set_xlabel("reward queries")
            for ax, trade in zip(axes[len(rows) :, column], trades, strict=True):
                scaled = {arm: found for (name, arm), found in frontiers.items() if name == reward}
                _draw_trade(ax, trade, scaled, analyses.get(reward), styles)
            if trades:
                axes[-1, column].set_xlabel("reward, adapters scaled (open: 0, large: 1)")
        titles = [row.title for row in rows] + [trade.title for trade in trades]
        for row_axes, title in zip(axes, titles, strict=True):
            row_axes[0].set_ylabel(title)
        figure.align_ylabels()
        handles = [_handle(arm, styles[arm]) for arm in results.methods]
        handles.append(Line2D([], [], color=GREY, linestyle="--", marker=".", label="best-of-N of the base"))
        legend_above(figure, handles, 3)
        return rendered(figure, kinds=("png", "svg", "pdf"))


def _draw_row(ax: Axes, row: _Row, courses: dict[str, list[Course]], styles: Mapping[str, Style]) -> None:
    for arm, states in courses.items():
        queries = [state.queries for state in states]
        _curve(ax, queries, [row.pick(state) for state in states], styles[arm])
    if "gain" in row.title:
        ax.axhline(0, color=GREY, linestyle=":", linewidth=1.0)


def _draw_trade(
    ax: Axes,
    trade: _Trade,
    points: dict[str, list[FrontierRow]],
    analysis: Analysis | None,
    styles: Mapping[str, Style],
) -> None:
    for arm, found in points.items():
        measured = [row for row in found if not trade.pick(row).absent]
        _frontier(ax, measured, trade, styles[arm])
    if analysis is not None:
        _best_of(ax, analysis, trade.key)


def _curve(ax: Axes, queries: Sequence[int], values: Sequence[Estimate], style: Style) -> None:
    if any(value.absent for value in values):
        return
    colour, marker, line = style
    ax.fill_between(
        queries, [v.low for v in values], [v.high for v in values], color=colour, alpha=0.16, linewidth=0
    )
    ax.plot(
        queries, [v.value for v in values], color=colour, marker=marker, linestyle=line, markersize=3.5,
        linewidth=1.4,
    )  # fmt: skip
    ax.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    ax.locator_params(nbins=5)


def _frontier(ax: Axes, rows: Sequence[FrontierRow], trade: _Trade, style: Style) -> None:
    if not rows:
        return
    colour, marker, line = style
    x, y = [row.reward.value for row in rows], [trade.pick(row).value for row in rows]
    ax.plot(x, y, color=colour, linestyle=line, linewidth=1.4)
    for row, a, b in zip(rows, x, y, strict=True):
        ax.plot(
            [a], [b], marker, color=colour, markersize=6 if row.scale == 1 else 3.5,
            markerfacecolor="white" if row.scale == 0 else colour,
        )  # fmt: skip
    ax.grid(color="#e4e4e4", linewidth=0.6)
    ax.locator_params(nbins=5)


def _best_of(ax: Axes, analysis: Analysis, key: str) -> None:
    arms = [arm for arm in analysis.untrained if key in arm.statistics]
    x, y = ([arm.statistics[name].value for arm in arms] for name in ("heldout_reward", key))
    ax.plot(x, y, color=GREY, linestyle="--", marker=".", linewidth=1.0, zorder=1)


def _handle(arm: str, style: Style) -> Line2D:
    colour, marker, line = style
    return Line2D(
        [], [], color=colour, marker=marker, linestyle=line, markersize=4.5, linewidth=1.4, label=arm
    )
