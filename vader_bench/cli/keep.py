"""``vader-bench keep``: a small copy of results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]


def command(
    results: Annotated[Path, typer.Argument(help="Results folder with its report, or what tune wrote.")],
    out: Annotated[Path, typer.Argument(help="New folder for the copy.")],
    adapters: Annotated[
        list[str] | None,
        typer.Option(help="Arm whose trained adapters are kept, of the first seed; repeatable."),
    ] = None,
    sheet: Annotated[bool, typer.Option(help="Keep the picture of all videos.")] = True,
    videos: Annotated[bool, typer.Option(help="Keep the videos of the first seed and their picture.")] = True,
) -> None:
    """Make a small copy of results, to be committed or sent, without what can be made again from it."""
    from vader_bench.report.keep import keep

    before, after = keep(results, out, adapters=adapters or (), sheet=sheet, videos=videos)
    typer.echo(f"{out}: {after / 1e6:.1f} MB of {before / 1e6:.1f} MB")
