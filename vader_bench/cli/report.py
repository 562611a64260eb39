"""``vader-bench report``: figures, tables and pages of a results folder, made again from its records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]


def command(
    results: Annotated[Path, typer.Argument(help="Folder that a run wrote: results/<experiment>/<suite>.")],
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Report even if runs have no record.")
    ] = False,
    width: Annotated[
        float | None,
        typer.Option(
            min=2.0, max=20.0, help="Width of the figure in inches, for a paper: its text has 8 points."
        ),
    ] = None,
) -> None:
    """Make the report of finished runs again; needs no models."""
    from vader_bench.cli._report import show_report

    raise typer.Exit(show_report(results, allow_missing=allow_missing, width=width))
