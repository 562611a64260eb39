"""``study ingest``: from results files to answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vader_bench.cli.study._options import Folder

__all__ = ["command"]


def command(
    folder: Folder,
    results: Annotated[list[Path], typer.Argument(help="All results files of the study.")],
) -> None:
    """Read platforms' results files: whose answers are used, who is paid, what is refused and why."""
    from vader_bench.errors import UserError
    from vader_bench.human.ingest.ingest import ingest, load_salt, write_outcome
    from vader_bench.human.ingest.results_file import read_results
    from vader_bench.human.plan import load_built
    from vader_bench.human.responses import REJECTED, rejection_warning, tally

    built = load_built(folder)
    tables = [read_results(path) for path in results]
    outcome = ingest(built, tables, load_salt(folder))
    found = outcome.ingested
    unused = [reason for one in found.submissions for reason in one.unused]
    unpaid = [reason for one in found.submissions for reason in one.unpaid]
    if found.simulated:
        typer.echo("SIMULATED: accounts of this name are no people")
    typer.echo(f"{found.study}: {sum(source.rows for source in found.sources)} rows read")
    typer.echo(f"  accepted {len(found.submissions)}, of which used {len(found.used)}")
    for what, reasons in (("not used", unused), ("not paid", unpaid)):
        for reason, count in tally(reasons).items():
            typer.echo(f"    {what} {count}: {reason}")
    typer.echo(f"  refused {len(found.refused)}")
    for reason, count in tally(one.reason for one in found.refused).items():
        typer.echo(f"    {count}: {reason}")
    if rejected := unused.count(REJECTED):
        typer.echo(f"  warning: {rejection_warning(rejected)}")
    if not found.submissions:
        raise UserError(", ".join(map(str, results)), "hold no answer to this study", "see why above")
    for path in write_outcome(folder, outcome):
        typer.echo(f"wrote {path}")
    typer.echo(f"{folder / 'private'} names accounts: never publish it")
