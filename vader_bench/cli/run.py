"""``vader-bench run``: an experiment from its file to its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vader_bench.cli._options import Devices, Out, Quick, Seeds, Suite, Tracking, Workers

__all__ = ["command"]


def command(
    experiment: Annotated[Path, typer.Argument(help="Experiment: a packaged name or a file.")],
    suite: Suite = None,
    quick: Quick = False,
    seeds: Seeds = None,
    out: Out = Path("results"),
    workers: Workers = None,
    devices: Devices = 1,
    tracking: Tracking = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Train every run, even if another experiment has trained it already."),
    ] = False,
) -> None:
    """Run an experiment and write its report. Given again, it goes on where it was interrupted.

    A run that another experiment in the same folder of results has trained is taken from it, and measured.
    """
    from vader_bench.cli._report import show_report
    from vader_bench.cli._work import command_line, work
    from vader_bench.experiment.resolve import (
        claim,
        require_devices,
        resolve_experiment,
        tuning_warning,
        write_experiment,
    )
    from vader_bench.report.index import write_index

    resolved = resolve_experiment(experiment, suite, quick, seeds)
    require_devices(resolved.runs, devices)
    if warning := tuning_warning(resolved):
        typer.echo(warning, err=True)
    folder = resolved.folder(out)
    jobs = resolved.jobs(out)
    claim(jobs)
    write_experiment(resolved, folder)
    options: dict[str, object] = {"--suite": suite, "--quick": quick, "--seeds": seeds, "--out": out}
    options |= {"--workers": workers, "--devices": devices if devices > 1 else None, "--fresh": fresh}
    given = command_line("run", experiment, options)
    tracker = work(jobs, folder, workers, tracking, devices=devices, fresh=fresh, command=given)
    code = show_report(folder, tracker, command=given)
    typer.echo(f"{'all results':<18}{write_index(out)}")
    raise typer.Exit(code)
