"""All trials of a tuning for reading: a page of tables and a figure of their courses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vader_bench import files
from vader_bench.experiment.tuning.candidates import Arm
from vader_bench.experiment.tuning.choice import findings
from vader_bench.experiment.tuning.config import TuneConfig
from vader_bench.experiment.tuning.halving import Judged, Tuned
from vader_bench.report.style import GREY, drawing, note_at_edge, rendered, style_of
from vader_bench.report.tables import Table, markdown

__all__ = ["FIGURE_NAME", "SUMMARY_NAME", "write_shown"]

SUMMARY_NAME = "summary.md"
FIGURE_NAME = "trials"
"""Its files are called that, before the dot."""
_TRUTH = "gain of the truth,\nwhat was chosen"
_HEAD = ["reached", "seeds", "mean over looks", "gain at the end", "truth gain", "gain, share of the prompt"]
_NOTES = """\
* A row is a setting at the last rung that it reached. Those that reached the same rung stand in the order of
  the mean over looks, by which settings go on and are chosen. Numbers are means over seeds and held-out
  development prompts; gains are over the base model.
* In the figure the thick line is what was chosen. A line ends where its setting was given up. Settings that
  lose more than twice what the best look gained leave their panel, and are counted at its foot.
* Nothing is chosen by the truth of a reward or by the share of the prompt. They show what a choice by the
  reward costs.
* The best of several settings looks better than it is, because luck is part of why it is the best. What a
  setting is worth is measured by the experiment that uses it, with other seeds and other prompts.
"""


def write_shown(config: TuneConfig, suite: str, tuned: Tuned, folder: Path) -> Path:
    """Write ``summary.md`` and the figure of all trials to ``folder`` and return the path of the former.

    Raises:
        UserError: the disk refuses.
    """
    for kind, data in _figure(config, tuned).items():
        files.write_bytes(folder / f"{FIGURE_NAME}.{kind}", data)
    files.write_text(folder / SUMMARY_NAME, _summary(config, suite, tuned))
    return folder / SUMMARY_NAME


def _summary(config: TuneConfig, suite: str, tuned: Tuned) -> str:
    lines = [f"# {config.experiment} on {suite}", "", config.question, ""]
    lines += [f"![The courses of all settings]({FIGURE_NAME}.png)", "", "## What was chosen", ""]
    lines += [f"* {line}" if not line.startswith(" ") else f"  * {line.strip()}" for line in findings(tuned)]
    for reward in config.rewards:
        for method in config.methods:
            table = _table((reward, method), tuned)
            lines += ["", f"## {table.title}", "", *markdown(table)]
    return "\n".join([*lines, "", "## How to read this", "", _NOTES])


def _table(arm: Arm, tuned: Tuned) -> Table:
    rows = [
        [
            f"{one.trial.candidate.number}{', **chosen**' if one is tuned.chosen[arm] else ''}",
            *map(str, one.trial.candidate.varied.values()),
            f"{one.trial.queries} queries",
            str(len(one.trial.seeds)),
            f"{one.outcome.score:.4g}",
            *map(_gain, (one.outcome.gains[-1], one.outcome.truth_gain, one.outcome.share_gain)),
        ]
        for one in sorted(_farthest(arm, tuned), key=lambda one: (-one.trial.rung, -one.outcome.score))
    ]
    varied = next(one.trial.candidate.varied for one in tuned.judged if one.trial.candidate.arm == arm)
    return Table(", ".join(arm), ["trial", *varied, *_HEAD], rows)


def _gain(value: float | None) -> str:
    return "not measured" if value is None else f"{value:+.2g}"


def _farthest(arm: Arm, tuned: Tuned) -> list[Judged]:
    """Return each setting of ``arm`` at the last rung that it reached."""
    return list(
        {one.trial.candidate.number: one for one in tuned.judged if one.trial.candidate.arm == arm}.values()
    )


def _figure(config: TuneConfig, tuned: Tuned) -> dict[str, bytes]:
    """Return the figure as ``png`` and ``svg``: a column a reward, gains against queries.

    A method has a row, in which a line is a setting, its seeds put together; it ends where the setting was
    given up. What was chosen is thick and has marks. The last row has the truth of what was chosen, which
    has units of its own, for all methods.
    """
    methods, rewards = list(config.methods), config.rewards
    with drawing():
        size = (2.9 * len(rewards) + 0.6, 1.6 * (len(methods) + 1) + 0.7)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(methods) + 1, len(rewards), squeeze=False, sharex="col")
        for column, reward in enumerate(rewards):
            axes[0, column].set_title(reward, fontweight="bold")
            axes[-1, column].set_xlabel("reward queries")
            for ax, method in zip(axes[:-1, column], methods, strict=True):
                chosen, style = tuned.chosen[reward, method], style_of(method, methods)
                _draw_settings(ax, _farthest((reward, method), tuned), chosen, style)
                if chosen.outcome.truth_gains is not None:
                    _draw_chosen(axes[-1, column], chosen, chosen.outcome.truth_gains, style)
        for ax in axes.flat:
            ax.axhline(0, color=GREY, linestyle=":", linewidth=1.0)
            ax.grid(axis="y", color="#e4e4e4", linewidth=0.6)
            ax.locator_params(axis="y", nbins=5)
        for ax, label in zip(axes[:, 0], [*(f"gain with {one}" for one in methods), _TRUTH], strict=True):
            ax.set_ylabel(label)
        figure.align_ylabels()
        handles = [
            Line2D([], [], color=GREY, marker="o", markersize=4.0, linewidth=1.8, label="chosen"),
            Line2D([], [], color=GREY, linewidth=0.7, label="other settings"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
        return rendered(figure, f"{config.experiment}: the courses of all settings", ("png", "svg"))


def _draw_chosen(ax: Axes, chosen: Judged, gains: Sequence[float], style: tuple[str, str]) -> None:
    colour, marker = style
    looks = chosen.outcome.looks
    ax.plot(looks, gains, color=colour, marker=marker, markersize=4.0, linewidth=1.8, zorder=3)


def _draw_settings(ax: Axes, settings: Sequence[Judged], chosen: Judged, style: tuple[str, str]) -> None:
    """Draw the courses of ``settings``; those that fall far leave the panel, and are counted at its foot."""
    for one in settings:
        if one is chosen:
            _draw_chosen(ax, one, one.outcome.gains, style)
        else:
            ax.plot(one.outcome.looks, one.outcome.gains, color=style[0], linewidth=0.7, alpha=0.6)
    low, high = _limits([one.outcome.gains for one in settings], chosen.outcome.gains)
    ax.set_ylim(low, high)
    far = sum(min(one.outcome.gains) < low for one in settings)
    if far:
        note_at_edge(ax, (0.98, 0.04), False, f"{far} of {len(settings)} below")


def _limits(courses: Sequence[Sequence[float]], chosen: Sequence[float]) -> tuple[float, float]:
    """Return the ends of a y axis: all gains are inside, and losses up to twice the size of the gains."""
    high = max(max(course) for course in courses)
    low = max(min(min(course) for course in courses), -2 * max(high, *map(abs, chosen)))
    margin = 0.06 * ((high - low) or 1.0)
    return low - margin, high + margin
