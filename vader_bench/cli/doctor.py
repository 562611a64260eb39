"""``vader-bench doctor``: say what this machine has for running experiments, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vader_bench.cli._options import Out, Tracking
from vader_bench.errors import ExitCode

__all__ = ["command"]


def command(
    suite: Annotated[
        str, typer.Option(help="Suite whose weights are looked for: a name or a file.")
    ] = "pocket",
    out: Out = Path("results"),
    tracking: Tracking = None,
) -> None:
    """Look at packages, devices, disk, tracking and weights, and say what to do about what is missing.

    Nothing stays behind or is downloaded. The exit code is 3 if runs would fail.
    """
    from vader_bench.cli._machine import examine

    missing = 0
    for finding in examine(suite, out, tracking):
        typer.echo(f"{finding.verdict:<8} {finding.what:<13} {finding.found}")
        if finding.remedy:
            typer.echo(f"{'':<22} {finding.remedy}")
        missing += finding.verdict == "missing"
    if missing:
        raise typer.Exit(ExitCode.MISSING)
