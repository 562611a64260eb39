"""``vader-bench reproduce``: several experiments, the cheapest first, with their time stated beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vader_bench.cli._options import Out, Quick, Seeds, Tracking, Workers
from vader_bench.errors import ExitCode, UserError

if TYPE_CHECKING:
    from vader_bench.cost.workload import Step

__all__ = ["command"]


def command(
    experiments: Annotated[
        list[Path] | None,
        typer.Argument(help="Experiments: packaged names or files; by default all packaged ones."),
    ] = None,
    quick: Quick = False,
    seeds: Seeds = None,
    out: Out = Path("results"),
    workers: Workers = None,
    tracking: Tracking = None,
    only_plan: Annotated[
        bool, typer.Option("--only-plan", help="Say what is to be done and how long it takes, and stop.")
    ] = False,
) -> None:
    """Run experiments, the cheapest first, after saying how long they will take on this machine.

    Given again, it goes on where it was interrupted; what is finished is left alone. A training that several
    experiments share is done once. Tunings have their own command.
    """
    from vader_bench.cost.workload import in_order, measured_rate, work_of
    from vader_bench.experiment.resolve import resolve_experiment
    from vader_bench.launch.local import worker_devices
    from vader_bench.training.reuse import find_trainings

    devices = worker_devices(workers)
    resolved = []
    for path in experiments or _packaged():
        try:
            resolved.append((path, resolve_experiment(path, None, quick, seeds)))
        except UserError as error:
            if experiments or error.exit_code != ExitCode.MISSING:
                raise
            typer.echo(f"left out, for it needs weights that are not here: {path}", err=True)
    works = [work_of(path, found, out, devices[0]) for path, found in resolved]
    steps = in_order(works, find_trainings(out, lambda line: typer.echo(line, err=True)))
    rate = measured_rate(resolved[0][1].suite, devices[0]) if any(step.flops for step in steps) else 1.0
    for line in _plan(steps, rate, len(devices)):
        typer.echo(line)
    if only_plan:
        return
    given = {"quick": quick, "seeds": seeds, "out": out, "workers": workers, "tracking": tracking}
    ran = {step.work.name: _ran(step, given) for step in steps}
    failed = [name for name, whole in ran.items() if not whole]
    if failed:
        typer.echo(f"FAILED: {', '.join(failed)}; give the same command again to go on", err=True)
        raise typer.Exit(1)


def _packaged() -> list[Path]:
    """Return the names of the experiments that come with the package, without the tunings."""
    from vader_bench.config.experiment_file import experiment_names, experiment_path, searches
    from vader_bench.config.yamlfile import read_mapping

    names = experiment_names()
    return [Path(name) for name in names if not searches(read_mapping(experiment_path(name))[0])]


def _left(step: Step) -> bool:
    return step.work.finished < step.work.runs


def _plan(steps: Sequence[Step], rate: float, workers: int) -> Iterator[str]:
    """Yield a line an experiment, in their order, and what all of them take."""
    yield f"{'experiment':<20}{'runs':>6}{'finished':>10}{'to train':>10}{'hours':>10}"
    for step in steps:
        work = step.work
        hours = _hours(step.flops, rate, workers) if _left(step) else "done"
        yield f"{work.name:<20}{work.runs:>6}{work.finished:>10}{step.trained:>10}{hours:>10}"
    if not any(_left(step) for step in steps):
        return
    whole = _hours(sum(step.flops for step in steps), rate, workers)
    yield (
        f"in all {whole} hours here, with {workers} at a time at {rate / 1e9:.3g} GFLOP/s each, measured "
        "just now on sampling; training may be slower, and other work on the machine adds to it. Looks that "
        "are taken with a shared training are counted, and cost nothing"
    )


def _hours(flops: float, rate: float, workers: int) -> str:
    hours = flops / rate / workers / 3600
    return f"{hours:.2g}" if hours >= 0.1 else "below 0.1"


def _ran(step: Step, given: Mapping[str, Any]) -> bool:
    """Run one experiment to its report, made again if all is done, and tell whether it came to its end."""
    from vader_bench.cli.run import command as run

    typer.echo(f"\n{step.work.name}")
    try:
        run(step.work.path, **given)
    except typer.Exit as end:
        return end.exit_code == 0
    except UserError as error:  # the others do not wait for it
        typer.echo(f"error: {error}", err=True)
        return False
    return True
