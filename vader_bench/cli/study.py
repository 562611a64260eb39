"""``vader-bench study``: which of two videos people prefer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from vader_bench.cli._serve import serve_until_stopped
from vader_bench.human.config import StudyConfig

__all__ = ["app"]

app = typer.Typer(
    help="Ask people which of two videos they prefer.", no_args_is_help=True, rich_markup_mode=None
)
Folder = Annotated[Path, typer.Argument(help="Folder of the study, as `build` wrote it.")]
Environment = Annotated[
    Path | None, typer.Option(help="Folder of Turkle's environment; by default one in the user's cache.")
]


@app.callback()
def _group() -> None:
    """Ask people which of two videos they prefer."""


@app.command()
def power(
    share: Annotated[float, typer.Option(help="Preference to be found.")] = 0.6,
    responses: Annotated[int, typer.Option(min=1, help="Answers to a question and comparison.")] = 300,
    prompts: Annotated[int, typer.Option(min=1, help="Prompts that they are about.")] = 150,
    raters: Annotated[int, typer.Option(min=1, help="People who give them.")] = 60,
    questions: Annotated[int, typer.Option(min=1, help="Tests: questions times pairs of arms.")] = 2,
    alpha: Annotated[float, typer.Option(help="Level of all tests together.")] = 0.05,
    power: Annotated[float, typer.Option(help="Power wished for.")] = 0.8,
    prompt_sd: Annotated[float, typer.Option(help="How far prompts differ, in log-odds.")] = 0.8,
    rater_sd: Annotated[float, typer.Option(help="How far raters differ, in log-odds.")] = 0.4,
) -> None:
    """Say how likely a study is to find a preference, and how large one has to be."""
    from vader_bench.human.sizing import Wish, power_lines
    from vader_bench.stats.power import Variation

    wish = Wish(share, questions, alpha, power)
    for line in power_lines(wish, responses, prompts, raters, Variation(prompt_sd, rater_sd)):
        typer.echo(line)


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
    from vader_bench.human.ingest import load_salt, write_outcome
    from vader_bench.human.plan import load_built
    from vader_bench.human.responses import tally
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
        for reason, count in tally(reasons).items():
            typer.echo(f"    {what} {count}: {reason}")
    typer.echo(f"  refused {len(found.refused)}")
    for reason, count in tally(one.reason for one in found.refused).items():
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


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder that `study build` wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Results file to write; by default SIMULATED.csv in the folder.")
    ] = None,
    raters: Annotated[int, typer.Option(min=1, help="How many people there are to answer.")] = 60,
    prefer: Annotated[str | None, typer.Option(help="Arm that they prefer; by default none.")] = None,
    share: Annotated[float, typer.Option(help="How often they prefer it to another arm.")] = 0.65,
    careless: Annotated[float, typer.Option(help="Share of them who do not watch.")] = 0.1,
    side_bias: Annotated[float, typer.Option(help="Log-odds that the left side gets on top.")] = 0.2,
    lapse: Annotated[float, typer.Option(help="Share of careful answers that are a toss of a coin.")] = 0.02,
    ties: Annotated[float, typer.Option(help="Share of answers that are about the same.")] = 0.0,
    broken: Annotated[float, typer.Option(help="How often a video does not play.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Root of all their draws.")] = 1,
) -> None:
    """Write the answers of simulated raters, to try a study before anyone is asked."""
    from dataclasses import replace

    from vader_bench.human.plan import load_built
    from vader_bench.human.raters import even_raters
    from vader_bench.human.raters import prefer as planted
    from vader_bench.human.simulate import write_simulated

    built = load_built(folder)
    population = replace(
        even_raters(seed, built.arms, [question.id for question in built.plan.questions]),
        side_bias=side_bias,
        careless=careless,
        lapse=lapse,
        ties=ties,
        broken=broken,
    )
    if prefer is not None:
        population = planted(population, prefer, share)
    path = out or folder / "SIMULATED.csv"
    blocks = write_simulated(path, built, population, raters)
    liking = "no arm" if prefer is None else f"{prefer} in {share:.0%} of pairs"
    typer.echo(f"SIMULATED: {blocks} blocks by {min(raters, blocks)} raters who prefer {liking}")
    typer.echo(f"results: {path}")


@app.command()
def serve(
    folder: Folder,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on this machine; 0 is any free one.")
    ] = 8000,
    raters: Annotated[int, typer.Option(min=0, help="How many accounts for raters there shall be.")] = 0,
    simulated: Annotated[
        int, typer.Option(min=0, help="Accounts for a rehearsal, on data of their own.")
    ] = 0,
    prolific: Annotated[
        str | None, typer.Option(metavar="CODE", help="Let in people from Prolific; completion code.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="NAME", help="Public name, where a proxy takes TLS for it.")
    ] = None,
    environment: Environment = None,
) -> None:
    """Serve a study on this machine with Turkle until Ctrl-C, and write its results file."""
    from vader_bench.human.plan import load_built
    from vader_bench.human.serving.server import Offer

    offer = Offer(port, raters, simulated, prolific, host, environment)
    serve_until_stopped(load_built(folder), offer)


@app.command()
def export(folder: Folder, environment: Environment = None) -> None:
    """Write the results file of a study that is or was served."""
    from vader_bench.human.plan import load_built
    from vader_bench.human.serving.server import export_results

    exported = export_results(load_built(folder), environment, typer.echo)
    typer.echo(f"{exported.blocks} blocks answered: {exported.path}")


@app.command()
def analyze(
    folder: Annotated[Path, typer.Argument(help="Folder that `study build` wrote, with answers.")],
    plan_sha256: Annotated[
        str | None, typer.Option("--plan-sha256", help="SHA-256 of the plan as it was published.")
    ] = None,
) -> None:
    """Say what people preferred, with intervals and tests, and write tables, forest plot and page."""
    from vader_bench.human.study_report import build_study_report

    report = build_study_report(folder, plan_sha256)
    for line in report.findings:
        typer.echo(line)
    for line in report.warnings:
        typer.echo(f"  warning: {line}")
    typer.echo(f"written: {', '.join(path.name for path in report.files)}")
    typer.echo(f"in: {report.files[0].parent}")
