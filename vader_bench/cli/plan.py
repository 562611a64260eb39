"""``vader-bench plan``: what an experiment would cost and whether it fits a card, from its files alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vader_bench.cli._options import Suite

if TYPE_CHECKING:
    from vader_bench.config import RunConfig
    from vader_bench.plan.whatif import Planned

__all__ = ["command"]

_GIB = 2**30


def command(
    experiment: Annotated[Path, typer.Argument(help="Experiment file.")],
    suite: Suite = None,
    gpu: Annotated[str, typer.Option(help="Card to plan for; an unknown name lists all.")] = "rtx-4080",
    frames: Annotated[int | None, typer.Option(min=1, help="What if videos had so many frames.")] = None,
    height: Annotated[int | None, typer.Option(min=1, help="What if they were so high, in pixels.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="What if they were so wide, in pixels.")] = None,
    k: Annotated[int | None, typer.Option(min=1, help="What if so many steps of VADER had gradient.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="What if batches had so many videos.")] = None,
    precision: Annotated[str, typer.Option(help="Of frozen weights: fp32, fp16 or bf16.")] = "fp32",
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="What if the denoiser recomputed its activations.")
    ] = False,
) -> None:
    """Say what each arm of an experiment would spend and need on a card. Needs no GPU and no weights."""
    from vader_bench.plan.estimate import RESERVE, UTILISATION
    from vader_bench.plan.gpus import find_gpu
    from vader_bench.plan.planning import make_plan
    from vader_bench.plan.whatif import Changes, plan_arms, switches

    card = find_gpu(gpu)
    sizes = {"frames": frames, "height": height, "width": width}
    changes = Changes(
        backbone={key: value for key, value in sizes.items() if value is not None},
        checkpointing=checkpointing,
        k=k,
        batch=batch,
        precision=precision,
    )
    plan = make_plan(experiment, suite, with_weights=False)
    planned = plan_arms(plan.runs, changes)
    typer.echo(
        f"{plan.experiment.experiment} on {plan.suite.suite}, {gpu} ({card.memory_gib:g} GiB), {precision}"
    )
    for row in _table(planned, card, _seeds(plan.runs)):
        typer.echo(row)
    rate = card.rate(precision) / 1e12
    typer.echo(f"hours: training alone, at an assumed {UTILISATION:.0%} of the card's {rate:g} TFLOP/s")
    typer.echo(f"GiB: most at once while training; fits if {RESERVE / _GIB:g} GiB of the card are left")
    largest = max(planned, key=lambda one: one.estimate.memory.total)
    if largest.estimate.memory.fits(card):
        typer.echo(f"fits {gpu}: every arm")
        return
    typer.echo(f"does not fit {gpu}; what would help {largest.estimate.method} on {largest.estimate.reward}:")
    for switch in switches(largest, card, changes):
        verdict = "fits" if switch.memory.fits(card) else "does not fit"
        typer.echo(f"  {switch.name:<48}{switch.memory.total / _GIB:8.1f} GiB  {verdict}")


def _seeds(runs: list[RunConfig]) -> int:
    return len({run.seed for run in runs})


def _table(planned: list[Planned], card: Any, seeds: int) -> list[str]:
    heads = ("method", "reward", "queries", "TFLOP", "hours", "GiB", "of it weights", "kept", "")
    rows = [heads]
    for one in planned:
        found = one.estimate
        rows.append(
            (
                found.method,
                found.reward,
                str(found.queries),
                f"{found.flops / 1e12:.4g}",
                f"{found.seconds(card, one.precision) / 3600:.3g}",
                f"{found.memory.total / _GIB:.2f}",
                f"{found.memory.weights / _GIB:.2f}",
                f"{found.memory.kept / _GIB:.2f}",
                "fits" if found.memory.fits(card) else "does not fit",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(width) if column in {0, 1, 8} else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    hours = seeds * sum(one.estimate.seconds(card, one.precision) for one in planned) / 3600
    return [*lines, f"one run each; {seeds} seeds of all of them: {hours:.3g} hours"]
