"""``vader-bench sync``: send to MLflow what it has not got."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vader_bench.cli._options import Tracking
from vader_bench.errors import ExitCode, UserError

__all__ = ["command"]


def command(
    results: Annotated[Path, typer.Argument(help="Folder that a run wrote: results/<experiment>/<suite>.")],
    tracking: Tracking = None,
) -> None:
    """Send runs to an MLflow store that was away, or to another one. What it has is not sent again."""
    from vader_bench.records.tracking import STATE_NAME, Tracker

    runs = sorted(path.parent for path in (results / "runs").glob("*/metrics.jsonl"))
    if not runs:
        remedy = "give the folder that a run wrote, results/<experiment>/<suite>"
        raise UserError(str(results), "holds no runs", remedy, exit_code=ExitCode.MISSING)
    warnings: list[str] = []
    tracker = Tracker(results.resolve(), tracking, warnings.append)
    for run in runs:
        tracker.send(run)
    tracker.send_report(
        path for path in sorted(results.iterdir()) if path.is_file() and path.name != STATE_NAME
    )
    if warnings:
        remedy = "start the server and give the same command again"
        raise UserError(f"tracking address {tracker.uri}", "is away", remedy)
    typer.echo(f"sent {len(runs)} runs to {tracker.uri}")
