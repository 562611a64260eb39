"""``vader-bench compare``: whether two results of one experiment agree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vader_bench.errors import ExitCode, UserError

__all__ = ["command"]


def command(
    own: Annotated[Path, typer.Argument(help="Results folder.")],
    reference: Annotated[Path, typer.Argument(help="Results folder to compare it with.")],
) -> None:
    """Say, method by method and by interval, whether two results agree.

    The exit code is 1 if they do not, and 2 if they share nothing that can be compared.
    """
    from vader_bench.report.agreement import agreement_lines, compare_results
    from vader_bench.report.load import load_results

    found = compare_results(load_results(own), load_results(reference))
    if not any(one.agrees is not None for one in found):
        reasons = "; ".join(dict.fromkeys(one.unlike for one in found))
        raise UserError(
            f"{own} and {reference}",
            f"share nothing that can be compared ({reasons})",
            "give two results of one experiment, made with the same weights and prompts",
        )
    widths = [max(map(len, names)) for names in zip(*((a.reward, a.method) for a in found), strict=True)]
    for one in found:
        verdict = {True: "agrees", False: "DIFFERS", None: "not compared"}[one.agrees]
        typer.echo(f"{one.reward:<{widths[0]}}  {one.method:<{widths[1]}}  {verdict}{one.proviso}")
    for line in agreement_lines(found):
        typer.echo(line)
    if any(one.agrees is False for one in found):
        raise typer.Exit(ExitCode.RUN_FAILED)
