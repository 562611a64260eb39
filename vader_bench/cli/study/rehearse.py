"""``study rehearse``: the served page answered in a browser by simulated raters."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress

from vader_bench.cli.study._options import (
    Broken,
    Careless,
    Environment,
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

FEWEST: Final = 12


def command(
    folder: Folder,
    raters: Annotated[
        int | None,
        typer.Option(min=1, help="How many people answer; by default 12, more if need be."),
    ] = None,
    prefer: Prefer = None,
    shares: Shares = [],  # noqa: B006 -- typer copies it
    careless: Careless = 0.1,
    side_bias: SideBias = 0.2,
    lapse: Lapse = 0.02,
    ties: Ties = 0.0,
    broken: Broken = 0.0,
    seed: Seed = 1,
    environment: Environment = None,
) -> None:
    """Serve a study with Turkle and answer it in headless Chromium as simulated raters."""
    from vader_bench.human.plan import load_built
    from vader_bench.human.rehearsal.browser import rehearse
    from vader_bench.human.rehearsal.raters import Raters
    from vader_bench.human.responses import simulated_account
    from vader_bench.human.serving.server import Offer, serving

    built = load_built(folder)
    habits = Raters(seed, {}, side_bias=side_bias, lapse=lapse, careless=careless, ties=ties, broken=broken)
    population = planted(built, habits, prefer, shares)
    people = raters or max(FEWEST, built.plan.blocks.fewest_people(len(built.key.blocks)))
    names = [simulated_account(number) for number in range(1, people + 1)]
    offer = Offer(port=0, simulated=people, environment=environment)
    with serving(built, offer, typer.echo) as running, Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("blocks answered", total=None)
        done = rehearse(
            built,
            running,
            population.decide,
            names,
            lambda blocks, of: progress.update(task, completed=blocks, total=of),
        )
        results = running.export()
    typer.echo(f"SIMULATED: {done.blocks} blocks, {done.pairs} pairs answered in Chromium by {people} raters")
    typer.echo(f"  they prefer {liking(prefer, shares)}")
    typer.echo(f"results of all {results.blocks} blocks: {results.path}")
