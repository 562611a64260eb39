"""``vader-bench tune``: the same effort of tuning for all methods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vader_bench.cli._options import Executor, ExecutorName, Out, Storage, Suite, Tracking, Workers
from vader_bench.errors import ExitCode, UserError

if TYPE_CHECKING:
    from vader_bench.experiment.job import Job

__all__ = ["command"]


def command(
    tuning: Annotated[Path, typer.Argument(help="Tuning: `tune`, or a file.")],
    suite: Suite = None,
    out: Out = Path("results"),
    workers: Workers = None,
    tracking: Tracking = None,
    executor: Executor = ExecutorName.LOCAL,
    storage: Storage = None,
) -> None:
    """Tune all methods equally, on development prompts, and store all trials and the choice.

    Settings are tried rung by rung, the best ones at larger budgets. Given again, it goes on where it was
    interrupted.
    """
    from vader_bench.cli._work import Where, command_line, unfinished, work
    from vader_bench.experiment.load import load_suite
    from vader_bench.experiment.resolve import claim, require_weights
    from vader_bench.experiment.tuning.candidates import check_candidates, find_candidates
    from vader_bench.experiment.tuning.choice import TRIALS_NAME, findings, write_choice
    from vader_bench.experiment.tuning.config import load_tune
    from vader_bench.experiment.tuning.halving import halve, planned
    from vader_bench.experiment.tuning.shown import write_shown
    from vader_bench.methods.optimizers import require_optimizer

    where = Where(executor, workers, storage)
    config = load_tune(tuning)
    chosen = load_suite(suite or config.suite)
    candidates = find_candidates(config, chosen)
    check_candidates(config, candidates)
    require_weights(chosen, config.needed_rewards)
    require_optimizer(chosen.memory.optimizer)
    folder = out / config.experiment / chosen.suite
    given = command_line("tune", tuning, {"--suite": suite, "--out": out, "--workers": workers})
    for line in planned(config, chosen):
        typer.echo(line, err=True)

    def do(what: str, jobs: Sequence[Job]) -> None:
        typer.echo(what, err=True)
        claim(jobs)
        work(jobs, folder, where, tracking, command=given).finish()
        if missing := unfinished(jobs):
            wrong = f"with another launcher are {', '.join(job.name for job in missing)}"
            remedy = "give the same command again when it has finished them: the next rung needs all"
            raise UserError(what, wrong, remedy, exit_code=ExitCode.RUN_FAILED)

    tuned = halve(config, candidates, folder, do)
    choice = write_choice(config, chosen, tuned, folder)
    for line in findings(tuned):
        typer.echo(line)
    shown = write_shown(config, chosen.suite, tuned, folder)
    typer.echo(f"{len(tuned.judged)} trials: {folder / TRIALS_NAME}; for reading: {shown}")
    typer.echo(f"written to {choice}; copy its settings into the experiments that name it")
