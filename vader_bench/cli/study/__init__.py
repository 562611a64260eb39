"""``vader-bench study``: which of two videos people prefer. One verb a file, in order of use."""

from __future__ import annotations

import typer

from vader_bench.cli.study import analyze, build, export, ingest, init, power, rehearse, serve, simulate

__all__ = ["app"]

app = typer.Typer(
    help="Ask people which of two videos they prefer.", no_args_is_help=True, rich_markup_mode=None
)
for _verb in (power, init, build, simulate, rehearse, serve, export, ingest, analyze):
    app.command(_verb.__name__.rpartition(".")[2])(_verb.command)


@app.callback()
def _group() -> None:
    """Ask people which of two videos they prefer."""
