"""``vader-bench sync``: send to MLflow what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vader_bench.cli._options import Tracking
from vader_bench.errors import ExitCode, UserError
from vader_bench.records.metrics import METRICS_NAME
from vader_bench.records.packed import stored

if TYPE_CHECKING:
    from vader_bench.records.tracking import Tracker

__all__ = ["command"]


def command(
    results: Annotated[Path, typer.Argument(help="Folder that a run wrote: results/<experiment>/<suite>.")],
    tracking: Tracking = None,
    new_store: Annotated[
        bool,
        typer.Option(
            "--new-store", help="Set a broken database aside and send all experiments beside it again."
        ),
    ] = False,
) -> None:
    """Send runs to an MLflow store that was away, or to another one. What it has is not sent again."""
    from vader_bench.records.tracking import Tracker

    if not _runs(results):
        remedy = "give the folder that a run wrote, results/<experiment>/<suite>"
        raise UserError(str(results), "holds no runs", remedy, exit_code=ExitCode.MISSING)
    folders = [results.resolve()]
    if new_store:
        aside = Tracker(folders[0], tracking, _warn).set_aside()
        if aside is not None:
            typer.echo(f"the broken database is now {aside}")
            beside = (path.parent for path in folders[0].parents[1].glob("*/*/runs"))
            folders += sorted(path for path in beside if path != folders[0] and _runs(path))
    trackers = [_sent(folder, tracking) for folder in folders]
    typer.echo(f"MLflow: {trackers[0].address.command}")
    for line in (line for tracker in trackers for line in tracker.charts()):
        typer.echo(line)


def _sent(folder: Path, tracking: str | None) -> Tracker:
    """Send the runs of ``folder``, say how many, and return what sent them."""
    from vader_bench.records.tracking import STATE_NAME, Tracker

    tracker = Tracker(folder, tracking, _warn)
    report = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != STATE_NAME]
    done = tracker.sync(_runs(folder), [path for path in report if not path.name.startswith(".")])
    there = f"; it had all of {done.there}" if done.there else ""
    runs = "run" if done.sent == 1 else "runs"
    typer.echo(f"sent {done.sent} {runs} to {tracker.address.shown}{there}")
    return tracker


def _runs(results: Path) -> list[Path]:
    return sorted(run for run in (results / "runs").glob("*") if stored(run / METRICS_NAME).exists())


def _warn(text: str) -> None:
    typer.echo(text, err=True)
