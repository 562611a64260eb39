"""``study export``: the results file of a served study."""

from __future__ import annotations

import typer

from vader_bench.cli.study._options import Environment, Folder

__all__ = ["command"]


def command(folder: Folder, environment: Environment = None) -> None:
    """Write the results file of a study that is or was served."""
    from vader_bench.human.plan import load_built
    from vader_bench.human.serving.server import LATE, export_results

    exported = export_results(load_built(folder), environment, typer.echo)
    typer.echo(f"{exported.blocks} blocks answered: {exported.path}")
    if exported.late:
        typer.echo(f"{exported.late} sent too late and not used: {exported.path.with_name(LATE)}")
