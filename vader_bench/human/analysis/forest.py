"""The forest plot of a study: every share with its intervals, and the paper's beside them."""

from __future__ import annotations

import textwrap
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vader_bench.human.analysis.estimates import Outcome, StudyAnalysis
from vader_bench.human.analysis.tables import PAPER_MODELS, PaperShare, paper_share
from vader_bench.human.analysis.words import percent, quoted, stamped
from vader_bench.human.plan import StudyPlan
from vader_bench.report.style import GREY, LIGHT_GREY, drawing, rendered
from vader_bench.stats.bootstrap import Estimate
from vader_bench.stats.preference import NO_TEST

__all__ = ["draw_forest", "forest_figure"]

SHOWN: Final = "#0072B2"
NOT_SHOWN: Final = "#3c3c3c"
STAMP: Final = "#b3261e"
ROW_INCHES: Final = 0.36
LONGEST_TEXT: Final = 80
LONGEST_LABEL: Final = 28


def draw_forest(analysis: StudyAnalysis, plan: StudyPlan) -> dict[str, bytes]:
    """Return the forest plot as ``png`` and ``svg``, the same bytes for the same numbers."""
    with drawing():
        return rendered(forest_figure(analysis, plan), stamped(analysis, f"{analysis.study}: forest plot"))


def forest_figure(analysis: StudyAnalysis, plan: StudyPlan) -> Figure:
    """Return the figure.

    By question one row a pair of arms, blue where a preference is shown, and in the paper's own study one of
    the paper's: the share
    of used answers with the interval to quote, below it thin the interval as if answers were independent,
    and a ring for all accepted answers. Whatever is not from people says so across the picture.
    """
    texts = {question.id: question.text for question in plan.questions}
    lines: list[str | Outcome | PaperShare] = []
    for question in dict.fromkeys(one.question for one in analysis.outcomes):
        text = textwrap.shorten(texts[question], LONGEST_TEXT, placeholder=" ...")
        lines.append(text + (" (primary)" if question == analysis.primary else ""))
        lines += [one for one in analysis.outcomes if one.question == question]
        paper = paper_share(question) if analysis.paper else None
        lines += [paper] if paper is not None else []
    figure = Figure(figsize=(7.4, 1.35 + ROW_INCHES * len(lines)), layout="constrained")
    ax = figure.subplots()
    for row, line in enumerate(lines):
        if isinstance(line, str):
            _heading(ax, row, line)
        elif isinstance(line, Outcome):
            _outcome(ax, row, line)
        else:
            _paper(ax, row, line)
    _frame(ax, len(lines))
    figure.legend(handles=_legend(), loc="outside lower center", ncols=2, frameon=False, fontsize=7)
    if analysis.stamps:
        figure.text(
            0.5, 0.52, "\n".join(analysis.stamps), rotation=16, ha="center", va="center", alpha=0.22,
            fontsize=54 if len(analysis.stamps) == 1 else 40, fontweight="bold", color=STAMP, zorder=10,
        )  # fmt: skip
    return figure


def _heading(ax: Axes, row: int, text: str) -> None:
    ax.annotate(
        text, (0, row), xycoords=("axes fraction", "data"), xytext=(-118, 0), textcoords="offset points",
        va="center", ha="left", fontweight="bold", annotation_clip=False,
    )  # fmt: skip


def _outcome(ax: Axes, row: int, one: Outcome) -> None:
    colour = NOT_SHOWN if one.preferred is None else SHOWN
    share = quoted(one.main)
    label = f"{one.first} over {one.second}"
    _label(ax, row, label if len(label) <= LONGEST_LABEL else f"{one.first}\nover {one.second}", "black")
    if share.absent:
        _numbers(ax, row, share.absent, "")
        return
    wilson = one.main.share.wilson
    _line(ax, row + 0.24, wilson, LIGHT_GREY, 1.0)
    _line(ax, row, share, colour, 2.4)
    ax.plot([share.value], [row], "s", color=colour, markersize=6, zorder=4)
    everything = one.everything.share.wilson
    ax.plot(
        [everything.value], [row - 0.24], "o", color=colour, markerfacecolor="white", markersize=4, zorder=4
    )
    found = ", no finding" if one.main.share.test == NO_TEST else ""
    _numbers(ax, row, percent(share) + found, f"n = {one.main.share.responses}")


def _paper(ax: Axes, row: int, paper: PaperShare) -> None:
    _label(ax, row, f"paper: {PAPER_MODELS}", GREY)
    _line(ax, row, paper.share, GREY, 1.2)
    ax.plot([paper.share.value], [row], "D", color=GREY, markersize=4.5, zorder=4)
    _numbers(ax, row, percent(paper.share), f"n = {paper.answers}", GREY)


def _line(ax: Axes, height: float, share: Estimate, colour: str, width: float) -> None:
    ax.plot(
        [share.low, share.high],
        [height, height],
        color=colour,
        linewidth=width,
        solid_capstyle="butt",
        zorder=3,
    )


def _label(ax: Axes, row: int, text: str, colour: str) -> None:
    ax.annotate(
        text, (0, row), xycoords=("axes fraction", "data"), xytext=(-6, 0), textcoords="offset points",
        va="center", ha="right", color=colour, annotation_clip=False,
    )  # fmt: skip


def _numbers(ax: Axes, row: int, text: str, count: str, colour: str = "black") -> None:
    for offset, words in ((8, text), (108, count)):
        ax.annotate(
            words, (1, row), xycoords=("axes fraction", "data"), xytext=(offset, 0),
            textcoords="offset points", va="center", ha="left", color=colour, annotation_clip=False,
        )  # fmt: skip


def _frame(ax: Axes, rows: int) -> None:
    ax.set_xlim(0, 1)
    ax.set_ylim(rows - 0.4, -0.6)
    ax.axvline(0.5, color=GREY, linestyle=":", linewidth=1.0, zorder=1)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x", color="#eeeeee", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.set_xlabel(
        "second arm preferred  <    share of answers for the first arm, ties half    >  first arm preferred"
    )


def _legend() -> list[Line2D]:
    square = {"marker": "s", "markersize": 6, "linewidth": 2.4}
    ring = {"marker": "o", "markerfacecolor": "white", "markersize": 4, "linewidth": 0}
    entries: list[tuple[str, str, dict[str, Any]]] = [
        ("used answers, 95 % interval to quote", SHOWN, square),
        ("the same where no preference is shown (Holm, 5 %)", NOT_SHOWN, square),
        ("used answers as if independent (Wilson)", LIGHT_GREY, {"linewidth": 1.0}),
        ("all accepted answers", SHOWN, ring),
    ]
    return [Line2D([], [], color=colour, label=label, **style) for label, colour, style in entries]
