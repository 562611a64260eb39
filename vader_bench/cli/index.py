"""``vader-bench index``: one page over all reports of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]


def command(
    folder: Annotated[Path, typer.Argument(help="Folder with results at any depth.")] = Path("results"),
) -> None:
    """Make the page over all reports below a folder; needs no models."""
    from vader_bench.report.index import write_index

    index = write_index(folder)
    typer.echo(str(index.path))
    for fault in index.broken:
        typer.echo(f"warning: cannot be read: {fault}", err=True)
