"""``study build``: the package, and the key that stays."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from vader_bench.human.config import StudyConfig

__all__ = ["command"]


def command(
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
    from vader_bench.human.package.build import build_package
    from vader_bench.human.package.contact_sheet import CONTACT_SHEET
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
    for line in built.outlook:
        typer.echo(f"  {line}")
    for warning in built.warnings:
        typer.echo(f"  warning: {warning}")
    typer.echo(f"contact sheet: {built.folder / CONTACT_SHEET}; see that each video shows its prompt")
    typer.echo(f"package: {built.folder / PACKAGE}")
    typer.echo(f"key: {built.folder / KEY}; it tells the arms apart, so never upload it")


def _filmed(study: StudyConfig, samples: int, footage: Path) -> StudyConfig:
    """Return ``study`` with new videos in place of each run, made where they are not there yet."""
    from vader_bench.human.package.sources import check_runs, is_run, wanted_prompts
    from vader_bench.launch.local import one_device
    from vader_bench.training.film import film
    from vader_bench.training.model import read_run

    check_runs(study)
    assert study.prompts is not None
    prompts = wanted_prompts(study.prompts)
    runs = {arm: Path(folder) for arm, folder in study.arms.items() if is_run(folder)}
    for run in runs.values():
        read_run(run)  # what the last one lacks is said before videos of the first are made
    device = one_device(None)
    with Progress(console=Console(stderr=True)) as progress:
        for arm, run in runs.items():
            task = progress.add_task(f"videos of {arm}", total=len(prompts) * samples)
            film(run, prompts, samples, footage / arm, device, partial(progress.advance, task))
    return study.model_copy(update={"arms": study.arms | {arm: str(footage / arm) for arm in runs}})
