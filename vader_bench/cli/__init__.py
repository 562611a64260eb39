"""The command line: one verb a file. What a study is made of stands in YAML files, never in options."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from vader_bench import __version__
from vader_bench.cli import (
    check,
    compare,
    doctor,
    export,
    index,
    keep,
    measure,
    new,
    plan,
    report,
    reproduce,
    run,
    sample,
    score,
    study,
    sync,
    tune,
)  # fmt: skip
from vader_bench.cli import list as list_
from vader_bench.errors import ExitCode, UserError

__all__ = ["app", "main"]

app = typer.Typer(
    name="vader-bench",
    help="Compare ways to align video diffusion models with a reward, at equal budget.",
    epilog="Exit codes: 0 done, 1 a run failed, 2 wrong input, 3 something is missing, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_VERBS = (
    list_, new, doctor, check, plan, measure, tune, run, reproduce, report, index, compare, keep, sample,
    score, export, sync,
)  # fmt: skip
"""In order of use."""
for _verb in _VERBS:
    app.command(_verb.__name__.rpartition(".")[2])(_verb.command)
app.add_typer(study.app, name="study")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vader-bench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Compare ways to align video diffusion models with a reward, at equal budget."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; see ``ExitCode``.

    The only place where errors meant for the user are caught and printed.
    """
    try:
        app(args=arguments, prog_name="vader-bench")
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except ModuleNotFoundError as error:
        if error.name != "fcntl":
            raise
        wrong = "has no locks on files as Unix has them (fcntl), without which runs cannot be kept apart"
        sys.stderr.write(f"error: {sys.platform}: {wrong}; use Linux, macOS, or WSL on Windows\n")
        return ExitCode.MISSING
    except SystemExit as stop:  # how typer ends, whatever came of it
        if stop.code == ExitCode.INTERRUPTED:
            sys.stderr.write("interrupted; give the same command again to go on\n")
        return stop.code if isinstance(stop.code, int) else ExitCode.DONE
    return ExitCode.DONE
