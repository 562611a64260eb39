"""``vader-bench tune``: the same number of trials for every method, and the best setting of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vader_bench.cli._options import Out, Suite, Tracking, Workers

__all__ = ["command"]


def command(
    tuning: Annotated[Path, typer.Argument(help="Tuning file.")],
    suite: Suite = None,
    out: Out = Path("results"),
    workers: Workers = None,
    tracking: Tracking = None,
) -> None:
    """Tune all methods equally, on development prompts, and store all trials and the choice."""
    from vader_bench.cli._work import command_line, work
    from vader_bench.experiment.load import load_suite
    from vader_bench.experiment.resolve import claim, require_weights
    from vader_bench.experiment.tuning import TRIALS_NAME, load_tune, make_trials, write_choice

    config = load_tune(tuning)
    chosen = load_suite(suite or config.suite)
    trials = make_trials(config, chosen)
    require_weights(chosen, config.rewards)
    folder = out / config.experiment / chosen.suite
    jobs = [trial.job(folder) for trial in trials]
    claim(jobs)
    options = {"--suite": suite, "--out": out, "--workers": workers}
    work(jobs, folder, workers, tracking, command=command_line("tune", tuning, options)).finish()
    choice = write_choice(config, chosen, trials, folder)
    typer.echo(f"{len(trials)} trials: {folder / TRIALS_NAME}")
    typer.echo(choice.read_text("utf-8"))
    typer.echo(f"written to {choice}; copy its settings into the experiments that name it")
