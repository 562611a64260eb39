"""``vader-bench run``: an experiment from its file to its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vader_bench.cli._options import (
    Devices,
    Executor,
    ExecutorName,
    Out,
    Quick,
    Seeds,
    Storage,
    Suite,
    Tracking,
    Workers,
)

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
    executor: Executor = ExecutorName.LOCAL,
    storage: Storage = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Execute only runs whose names match, e.g. 'vader-*-seed1'; may be repeated."),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Train every run, even if another experiment has trained it already."),
    ] = False,
) -> None:
    """Run an experiment and write its report. Given again, it goes on where it was interrupted.

    A run that another experiment in the same folder of results has trained is taken from it, and measured.
    Several launchers may share a folder of results: each takes runs that no other has.
    """
    from vader_bench.cli._report import show_report
    from vader_bench.cli._work import Where, chosen, command_line, unfinished, whereabouts, work
    from vader_bench.experiment.resolve import (
        claim,
        require_devices,
        resolve_experiment,
        warnings_of,
        write_experiment,
    )
    from vader_bench.report.index import write_index

    where = Where(executor, workers, storage, devices)
    resolved = resolve_experiment(experiment, suite, quick, seeds)
    require_devices(resolved.runs, devices)
    for warning in warnings_of(resolved):
        typer.echo(f"warning: {warning}", err=True)
    folder = resolved.folder(out)
    jobs = resolved.jobs(out)
    mine = chosen(jobs, only or [])
    claim(mine)
    write_experiment(resolved, folder)
    options: dict[str, object] = {"--suite": suite, "--quick": quick, "--seeds": seeds, "--out": out}
    options |= {"--workers": workers, "--devices": devices if devices > 1 else None, "--fresh": fresh}
    given = command_line("run", experiment, options)
    beside = [job for job in jobs if job not in mine]
    tracker = work(mine, folder, where, tracking, beside=beside, fresh=fresh, command=given)
    if missing := unfinished(jobs):
        tracker.finish()
        for line in whereabouts(missing, len(jobs)):
            typer.echo(line)
        raise typer.Exit
    code = show_report(folder, tracker, command=given)
    typer.echo(f"{'all results':<18}{write_index(out).path}")
    raise typer.Exit(code)
