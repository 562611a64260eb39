"""The figure of over-optimisation: what happens to everything else while the reward is raised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vader_bench.records.record import Record
from vader_bench.report.load import Results
from vader_bench.report.style import GREY, drawing, rendered, style_of
from vader_bench.stats import Analysis, Course, Estimate, course, frontier

__all__ = ["draw_course"]


class _Row(NamedTuple):
    title: str
    pick: Callable[[Course], Estimate]


_ROWS = (
    _Row("reward gain", lambda state: state.gain),
    _Row("oracle gain", lambda state: state.gold_gain),
    _Row("diversity", lambda state: state.diversity),
    _Row("motion", lambda state: state.motion),
    _Row("path KL (nats)", lambda state: state.path_kl),
)


def draw_course(results: Results, analyses: dict[str, Analysis]) -> dict[str, bytes] | None:
    """Return the figure as ``png`` and ``svg``; ``None`` where the course was not measured.

    One column a reward. Upper rows: reward, oracle, diversity, motion and path divergence against reward
    queries, with 95 % intervals. Last row: the oracle against the reward, along the scales of the adapters,
    and along N for best-of-N of the base model.
    """
    if not any(
        look.path_kl is not None for record in results.records.values() for look in record.evaluations
    ):
        return None
    rewards = results.experiment.rewards
    with drawing():
        figure = Figure(figsize=(2.9 * len(rewards) + 0.6, 9.6), layout="constrained")
        axes = figure.subplots(len(_ROWS) + 1, len(rewards), squeeze=False)
        for column, reward in enumerate(rewards):
            axes[0, column].set_title(reward, fontweight="bold")
            _draw_reward(list(axes[:, column]), results, reward)
            if reward in analyses:
                _best_of(axes[-1, column], analyses[reward])
        for row, title in enumerate([*(row.title for row in _ROWS), "oracle"]):
            axes[row, 0].set_ylabel(title)
        figure.align_ylabels()
        handles = [_handle(arm, results.methods) for arm in results.methods]
        handles.append(Line2D([], [], color=GREY, linestyle="--", marker=".", label="best-of-N of the base"))
        figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
        return rendered(figure)


def _draw_reward(axes: Sequence[Axes], results: Results, reward: str) -> None:
    for arm in results.methods:
        records = sorted(results.of(reward, arm), key=lambda record: record.seed)
        if not records:
            continue
        states = course(records)
        queries = [state.queries for state in states]
        for ax, row in zip(axes, _ROWS, strict=False):
            _curve(ax, queries, [row.pick(state) for state in states], style_of(arm, results.methods))
        _frontier(axes[-1], records, style_of(arm, results.methods))
    for ax, row in zip(axes, _ROWS, strict=False):
        ax.set_xlabel("reward queries" if row is _ROWS[-1] else "")
        if "gain" in row.title:
            ax.axhline(0, color=GREY, linestyle=":", linewidth=1.0)
    axes[-1].set_xlabel("reward, adapters scaled (open: 0, large: 1)")


def _curve(ax: Axes, queries: Sequence[int], values: Sequence[Estimate], style: tuple[str, str]) -> None:
    if any(value.absent for value in values):
        return
    colour, marker = style
    ax.fill_between(
        queries, [v.low for v in values], [v.high for v in values], color=colour, alpha=0.16, linewidth=0
    )
    ax.plot(queries, [v.value for v in values], color=colour, marker=marker, markersize=3.5, linewidth=1.4)
    ax.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    ax.locator_params(nbins=5)


def _frontier(ax: Axes, records: Sequence[Record], style: tuple[str, str]) -> None:
    rows = [row for row in frontier(records) if not row.gold.absent]
    if not rows:
        return
    colour, marker = style
    x, y = [row.reward.value for row in rows], [row.gold.value for row in rows]
    ax.plot(x, y, color=colour, linewidth=1.4)
    for row, a, b in zip(rows, x, y, strict=True):
        ax.plot(
            [a], [b], marker, color=colour, markersize=6 if row.scale == 1 else 3.5,
            markerfacecolor="white" if row.scale == 0 else colour,
        )  # fmt: skip
    ax.grid(color="#e4e4e4", linewidth=0.6)
    ax.locator_params(nbins=5)


def _best_of(ax: Axes, analysis: Analysis) -> None:
    arms = [arm for arm in analysis.arms if arm.seeds == 0 and "gold" in arm.statistics]
    x, y = ([arm.statistics[key].value for arm in arms] for key in ("heldout_reward", "gold"))
    ax.plot(x, y, color=GREY, linestyle="--", marker=".", linewidth=1.0, zorder=1)


def _handle(arm: str, arms: Sequence[str]) -> Line2D:
    colour, marker = style_of(arm, arms)
    return Line2D([], [], color=colour, marker=marker, markersize=4.5, linewidth=1.4, label=arm)
