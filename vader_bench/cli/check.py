"""``vader-bench check``: say whether an experiment can be run and is fair, without running anything."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vader_bench.cli._options import Suite

if TYPE_CHECKING:
    from vader_bench.experiment.resolve import Plan

__all__ = ["command"]


def command(
    experiment: Annotated[Path, typer.Argument(help="Experiment file.")],
    suite: Suite = None,
    quick: Annotated[bool, typer.Option("--quick", help="Check the experiment's smaller form.")] = False,
) -> None:
    """Check an experiment: its keys and values, its weights, its fairness, its tuned settings."""
    from vader_bench.experiment.resolve import make_plan, weights_to_fetch

    plan = make_plan(experiment, suite, quick, with_weights=False)
    lacking = weights_to_fetch(plan.suite, plan.experiment.needed_rewards)
    arms = Counter(run.label for run in plan.runs)
    budget = plan.experiment.budget.reward_queries
    typer.echo(f"{plan.experiment.experiment} on {plan.suite.suite}: {plan.experiment.question}")
    typer.echo("  " + ", ".join(f"{count} runs of {method}" for method, count in arms.items()))
    typer.echo(f"  {budget} reward queries a run, rewards {', '.join(plan.experiment.rewards)}")
    typer.echo(f"  settings: {_settings(plan)}")
    for error in lacking:
        typer.echo(f"  to be had before it runs: {error}")
    typer.echo(f"ok: the arms differ in {', '.join(plan.experiment.compares)}, and in nothing else")


def _settings(plan: Plan) -> str:
    """Return where the settings of the arms come from."""
    if plan.moved:
        return f"those of suite {plan.suite.suite}; the experiment's own were chosen for another one"
    return plan.experiment.tuning or "not from a tuning result"
