"""``study simulate``: simulated answers as a results file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from vader_bench.cli.study._options import (
    Broken,
    Careless,
    Folder,
    Lapse,
    Prefer,
    Seed,
    Shares,
    SideBias,
    Ties,
    liking,
    planted,
)

__all__ = ["command"]

FEWEST: Final = 60


def command(
    folder: Folder,
    out: Annotated[
        Path | None, typer.Option(help="Results file to write; by default SIMULATED.csv in the folder.")
    ] = None,
    raters: Annotated[
        int | None,
        typer.Option(min=1, help="How many people answer; by default 60, more if need be."),
    ] = None,
    prefer: Prefer = None,
    shares: Shares = [],  # noqa: B006 -- typer copies it
    careless: Careless = 0.1,
    side_bias: SideBias = 0.2,
    lapse: Lapse = 0.02,
    ties: Ties = 0.0,
    broken: Broken = 0.0,
    seed: Seed = 1,
) -> None:
    """Write the answers of simulated raters, to try a study before anyone is asked."""
    from vader_bench.human.plan import load_built
    from vader_bench.human.rehearsal.raters import Raters
    from vader_bench.human.rehearsal.simulate import write_simulated

    built = load_built(folder)
    habits = Raters(seed, {}, side_bias=side_bias, lapse=lapse, careless=careless, ties=ties, broken=broken)
    population = planted(built, habits, prefer, shares)
    path = out or folder / "SIMULATED.csv"
    people = raters or max(FEWEST, built.plan.blocks.fewest_people(len(built.key.blocks)))
    blocks = write_simulated(path, built, population, people)
    typer.echo(
        f"SIMULATED: {blocks} blocks by {min(people, blocks)} raters who prefer {liking(prefer, shares)}"
    )
    typer.echo(f"results: {path}")
