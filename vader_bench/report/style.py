"""How figures look, and the bytes they become: the same ones for the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["GREY", "LIGHT_GREY", "drawing", "rendered", "style_of"]

_STYLES = {"vader": ("#0072B2", "o"), "ddpo": ("#D55E00", "s"), "diffusion-dpo": ("#009E73", "^")}
_MORE_STYLES = (
    ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"), ("#000000", "X"),
    ("#0072B2", "<"), ("#D55E00", ">"), ("#009E73", "*"), ("#8C8C00", "p"),
)  # fmt: skip
"""Colours of Okabe and Ito (2008), distinguished with any common colour blindness; and markers."""
GREY = "#6b6b6b"
LIGHT_GREY = "#9a9a9a"
_SETTINGS: Any = {
    "svg.hashsalt": "vader-bench",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def drawing() -> AbstractContextManager[None]:
    """Return the context in which figures are drawn and rendered."""
    return mpl.rc_context(_SETTINGS)


def style_of(arm: str, arms: Sequence[str]) -> tuple[str, str]:
    """Return colour and marker of ``arm`` among all ``arms``; those of a method are always its own."""
    others = [name for name in arms if name not in _STYLES]
    return _STYLES.get(arm) or _MORE_STYLES[others.index(arm) % len(_MORE_STYLES)]


def rendered(figure: Figure, title: str | None = None) -> dict[str, bytes]:
    """Return ``figure`` as ``png`` and ``svg``; a ``title`` is written into the files' metadata."""
    named: dict[str, str | None] = {} if title is None else {"Title": title}
    return {
        "png": _bytes(figure, "png", {"Software": None, **named}),
        "svg": _bytes(figure, "svg", {"Date": None, "Creator": None, **named}),
    }


def _bytes(figure: Figure, kind: str, metadata: dict[str, str | None]) -> bytes:
    stream = BytesIO()
    figure.savefig(stream, format=kind, dpi=200, metadata=metadata)
    return stream.getvalue()
