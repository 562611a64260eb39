"""``vader-bench study``: which of two videos people prefer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from vader_bench.human.config import StudyConfig

__all__ = ["app"]

app = typer.Typer(
    help="Ask people which of two videos they prefer.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def _group() -> None:
    """Ask people which of two videos they prefer."""


@app.command()
def build(
    study: Annotated[Path, typer.Argument(help="Study file.")],
    out: Annotated[Path, typer.Option(help="Folder of all packages; <study> is made in it.")] = Path(
        "human_eval/packages"
    ),
    paper: Annotated[
        bool, typer.Option("--paper", help="Ask for the paper's 100 answers a comparison.")
    ] = False,
) -> None:
    """Build a study's package: videos encoded alike, input file, page, plan; and the key, which stays."""
    from vader_bench.human.config import load_study
    from vader_bench.human.package import build_package
    from vader_bench.human.plan import KEY, PACKAGE

    config = load_study(study, paper)
    if config.samples is not None:
        config = _filmed(config, config.samples, out / config.study / "footage")
    built = build_package(config, out)
    currency = config.pay.currency
    typer.echo(f"{config.study}: {built.answers} answers a question, {built.videos} videos")
    typer.echo(f"  {built.blocks} blocks, one rater each, by at least {built.raters} people")
    typer.echo(
        f"  pays {built.hourly:.2f} {currency} an hour, {built.cost:.2f} {currency} in all, without fees"
    )
    typer.echo(f"  plan SHA-256 {built.plan.digest}: publish it before the first answer")
    for warning in built.warnings:
        typer.echo(f"  warning: {warning}")
    typer.echo(f"package: {built.folder / PACKAGE}")
    typer.echo(f"key: {built.folder / KEY}; it tells the arms apart, so never upload it")


@app.command()
def ingest(
    folder: Annotated[Path, typer.Argument(help="Folder that `study build` wrote.")],
    results: Annotated[list[Path], typer.Argument(help="All results files of the study.")],
) -> None:
    """Read platforms' results files: whose answers are used, who is paid, what is refused and why."""
    from vader_bench.errors import UserError
    from vader_bench.human.ingest import ingest as ingest_results
    from vader_bench.human.ingest import load_salt, tally, write_outcome
    from vader_bench.human.plan import load_built
    from vader_bench.human.results_file import read_results

    built = load_built(folder)
    tables = [read_results(path) for path in results]
    outcome = ingest_results(built, tables, load_salt(folder))
    found = outcome.ingested
    unused = [reason for one in found.submissions for reason in one.unused]
    unpaid = [reason for one in found.submissions for reason in one.unpaid]
    if found.simulated:
        typer.echo("SIMULATED: accounts of this name are no people")
    typer.echo(f"{found.study}: {sum(source.rows for source in found.sources)} rows read")
    typer.echo(f"  accepted {len(found.submissions)}, of which used {len(found.used)}")
    for what, reasons in (("not used", unused), ("not paid", unpaid)):
        for reason, count in tally(reasons):
            typer.echo(f"    {what} {count}: {reason}")
    typer.echo(f"  refused {len(found.refused)}")
    for reason, count in tally(one.reason for one in found.refused):
        typer.echo(f"    {count}: {reason}")
    if not found.submissions:
        raise UserError(", ".join(map(str, results)), "hold no answer to this study", "see why above")
    for path in write_outcome(folder, outcome):
        typer.echo(f"wrote {path}")
    typer.echo(f"{folder / 'private'} names accounts: never publish it")


def _filmed(study: StudyConfig, samples: int, footage: Path) -> StudyConfig:
    """Return ``study`` with new videos in place of each run, made where they are not there yet."""
    from vader_bench.footage import film
    from vader_bench.human.sources import check_alike, is_run, wanted_prompts
    from vader_bench.launch import worker_devices

    check_alike(study)
    assert study.prompts is not None
    prompts = wanted_prompts(study.prompts)
    runs = {arm: Path(folder) for arm, folder in study.arms.items() if is_run(folder)}
    device = worker_devices(1)[0]
    with Progress(console=Console(stderr=True)) as progress:
        for arm, run in runs.items():
            task = progress.add_task(f"videos of {arm}", total=len(prompts) * samples)
            film(run, prompts, samples, footage / arm, device, partial(progress.advance, task))
    return study.model_copy(update={"arms": study.arms | {arm: str(footage / arm) for arm in runs}})
