"""How figures look, and the bytes they become: the same ones for the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vader_bench.config.colours import BASE_COLOUR, METHOD_COLOURS

__all__ = [
    "GREY", "LIGHT_GREY", "SMALL", "Style", "drawing", "legend_above", "lines_of", "note_at_edge", "rendered",
    "style_of",
]  # fmt: skip

_MARKERS = {
    "vader": "o",
    "ddpo": "s",
    "diffusion-dpo": "^",
    "refl": "D",
    "grpo": "v",
    "nft": "P",
    "raft": "X",
}
_STYLES = {method: (colour, _MARKERS[method]) for method, colour in METHOD_COLOURS.items()}
_MORE_STYLES = (
    ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"), ("#000000", "X"),
    ("#0072B2", "<"), ("#D55E00", ">"), ("#009E73", "*"), ("#8C8C00", "p"),
)  # fmt: skip
"""Colours of Okabe and Ito (2008) too; and markers."""
Style: TypeAlias = tuple[str, str, Any]
"""Colour, marker and line style."""
_LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
DPI = 200
"""Dots an inch of a figure as PNG."""
SMALL = 7.0
"""Size of labels of lines, in points."""
_LEGEND = 0.65
"""Height of a legend that figures have room for, in inches."""
GREY = BASE_COLOUR
LIGHT_GREY = "#9a9a9a"
_SETTINGS: Any = {
    "svg.hashsalt": "vader-bench",
    "svg.fonttype": "none",  # text stays text, to be searched, copied and set in a paper
    "pdf.fonttype": 42,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


_UNDATED: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What would make the same figure other bytes the next day."""


def drawing() -> AbstractContextManager[None]:
    """Return the context in which figures are drawn and rendered."""
    return mpl.rc_context(_SETTINGS)


def style_of(arm: str, arms: Sequence[str]) -> tuple[str, str]:
    """Return colour and marker of ``arm`` among all ``arms``; those of a method are always its own."""
    others = [name for name in arms if name not in _STYLES]
    taken = {_STYLES[name] for name in arms if name in _STYLES}
    free = [style for style in _MORE_STYLES if style not in taken]
    return _STYLES.get(arm) or free[others.index(arm) % len(free)]


def lines_of(families: Mapping[str, Sequence[str]]) -> dict[str, Style]:
    """Return colour, marker and line style of every arm, where the arms of a method belong together.

    They share its colour and marker, and differ in their lines. Where there is one method, its arms differ in
    colour as everywhere.

    Args:
        families: arms by method.
    """
    if len(families) == 1:
        [arms] = families.values()
        return {arm: (*style_of(arm, arms), "-") for arm in arms}
    return {
        arm: (*style_of(method, list(families)), _LINES[rank % len(_LINES)])
        for method, arms in families.items()
        for rank, arm in enumerate(arms)
    }


def styles_of(arms: Sequence[str], families: Mapping[str, Sequence[str]]) -> dict[str, Style]:
    """Return colour, marker and line style of every arm: those of its own while no two arms have the same.

    Args:
        arms: all of them.
        families: those that are trained, by method; they share colours and markers where ``arms`` are many.
    """
    own: dict[str, Style] = {arm: (*style_of(arm, arms), "-") for arm in arms}
    if len(set(own.values())) == len(arms):
        return own
    trained = {arm for found in families.values() for arm in found}
    return lines_of({**families, **{arm: [arm] for arm in arms if arm not in trained}})


def legend_above(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """Put a legend of at most so many columns above all panels, as many as the figure is wide enough for.

    A high one makes the figure higher, and the panels no lower.
    """
    legend = _legend(figure, handles, columns)
    while columns > 1 and legend.get_window_extent().width > figure.bbox.width:
        legend.remove()
        columns -= 1
        legend = _legend(figure, handles, columns)
    more = legend.get_window_extent().height / figure.dpi - _LEGEND
    if more > 0:
        figure.set_figheight(figure.get_figheight() + more)


def _legend(figure: Figure, handles: Sequence[Artist], columns: int) -> Legend:
    return figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False)


def note_at_edge(ax: Axes, place: tuple[float, float], above: bool, text: str) -> None:
    """Write at the edge of a panel what is beyond it, behind an arrow that points there.

    Args:
        ax: the panel.
        place: of the text's outer corner, in fractions of the panel; on its left half the text starts there.
        above: whether what is named is above the panel, and not below it.
        text: what to write.
    """
    arrow = "\N{UPWARDS ARROW}" if above else "\N{DOWNWARDS ARROW}"
    ax.text(
        *place, f"{arrow} {text}", transform=ax.transAxes, va="top" if above else "bottom",
        ha="left" if place[0] < 0.5 else "right", fontsize=SMALL, color=GREY, zorder=6,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},  # a line may pass there
    )  # fmt: skip


def rendered(
    figure: Figure, title: str | None = None, kinds: Sequence[str] = ("png", "svg")
) -> dict[str, bytes]:
    """Return ``figure`` as each of ``kinds``, of png, svg and pdf; a ``title`` goes into their metadata.

    It is laid out once, which takes longer than all else: for SVG, where texts have their exact sizes.
    """
    named: dict[str, str | None] = {} if title is None else {"Title": title}
    found = {}
    for kind in sorted(kinds, key=lambda kind: kind != "svg"):
        found[kind] = _bytes(figure, kind, {**_UNDATED[kind], **named})
        figure.set_layout_engine(None)
    return {kind: found[kind] for kind in kinds}


def _bytes(figure: Figure, kind: str, metadata: dict[str, str | None]) -> bytes:
    stream = BytesIO()
    figure.savefig(stream, format=kind, dpi=DPI, metadata=metadata)
    return _paletted(stream) if kind == "png" else stream.getvalue()


def _paletted(stream: BytesIO) -> bytes:
    """Return the PNG in ``stream`` with 256 colours: a drawing needs no more, and a third of the bytes."""
    out, texts = BytesIO(), PngInfo()
    with Image.open(stream) as drawn:
        for key, text in drawn.info.items():
            if isinstance(key, str) and isinstance(text, str):
                texts.add_text(key, text)
        few = drawn.convert("RGB").quantize(256, kmeans=1)
        few.save(out, "PNG", optimize=True, dpi=drawn.info["dpi"], pnginfo=texts)
    return out.getvalue()
