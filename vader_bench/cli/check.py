"""``vader-bench check``: say whether an experiment can be run and is fair, without running anything."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vader_bench.cli._options import Devices, Suite

if TYPE_CHECKING:
    from vader_bench.experiment.resolve import ResolvedExperiment

__all__ = ["command"]


def command(
    experiment: Annotated[Path, typer.Argument(help="Experiment: a packaged name or a file.")],
    suite: Suite = None,
    quick: Annotated[bool, typer.Option("--quick", help="Check the experiment's smaller form.")] = False,
    devices: Devices = 1,
) -> None:
    """Check an experiment: its keys and values, its weights, its fairness, its tuned settings."""
    from vader_bench.cost.frames import judged_frames
    from vader_bench.experiment.resolve import (
        require_devices,
        resolve_experiment,
        scarce_prompts,
        warnings_of,
        weights_to_fetch,
    )

    resolved = resolve_experiment(experiment, suite, quick, with_weights=False)
    require_devices(resolved.runs, devices)
    lacking = weights_to_fetch(resolved.suite, resolved.experiment.needed_rewards)
    arms = Counter(run.label for run in resolved.runs)
    budget = resolved.experiment.budget.reward_queries
    typer.echo(f"{resolved.experiment.experiment} on {resolved.suite.suite}: {resolved.experiment.question}")
    runs = (f"{count} {'run' if count == 1 else 'runs'} of {arm}" for arm, count in arms.items())
    typer.echo(f"  {', '.join(runs)}")
    typer.echo(f"  {budget} reward queries a run, rewards {', '.join(resolved.experiment.rewards)}")
    typer.echo(f"  settings: {_settings(resolved)}")
    for reward, judged in judged_frames(resolved.suite, resolved.runs).items():
        typer.echo(f"  judged by {reward}: {'; or '.join(judged)}")
    for split, taken in scarce_prompts(resolved).items():
        typer.echo(f"  looks at {split}: {taken}")
    for error in lacking:
        typer.echo(f"  needed before it runs: {error}")
    for warning in warnings_of(resolved):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"ok: the arms differ in {', '.join(resolved.experiment.compares)}, and in nothing else")


def _settings(resolved: ResolvedExperiment) -> str:
    """Return where the settings of the arms come from."""
    if resolved.moved:
        return f"those of suite {resolved.suite.suite}; the experiment's own were chosen for another one"
    return " and ".join(resolved.experiment.tuning) or "not from a tuning result"
