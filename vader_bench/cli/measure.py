"""``vader-bench measure``: what an experiment's arms take on a device, beside what ``plan`` estimates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vader_bench.cli._options import Device, Out, Quick, Suite

if TYPE_CHECKING:
    from vader_bench.cost.gpus import Gpu
    from vader_bench.cost.measured import ArmMeasurement, Spent

__all__ = ["command"]

_GIB = 2**30


def command(
    experiment: Annotated[Path, typer.Argument(help="Experiment: a packaged name or a file.")],
    suite: Suite = None,
    quick: Quick = False,
    device: Device = None,
    random_weights: Annotated[
        bool,
        typer.Option("--random-weights", help="Use random weights; missing ones are random without it too."),
    ] = False,
    save: Annotated[
        bool, typer.Option("--save", help="Keep what is measured, for `plan` on the same card.")
    ] = False,
    out: Out = Path("results"),
) -> None:
    """Run two updates and one look of each arm at full size, and say what they take beside the estimate.

    Nothing is downloaded. An update is cut to one batch, which takes as much memory.
    """
    from vader_bench.cost.gpus import GPUS, card_of
    from vader_bench.cost.measure import expected, measure
    from vader_bench.cost.measured import keep, measured_file
    from vader_bench.cost.whatif import Changes, plan_arms
    from vader_bench.experiment.resolve import resolve_experiment
    from vader_bench.launch.local import one_device
    from vader_bench.records.provenance import device_name

    where = one_device(device)
    named = device_name(where)
    card = GPUS.get(card_of(named) or "")
    resolved = resolve_experiment(experiment, suite, quick, with_weights=False)
    typer.echo(f"{resolved.experiment.experiment} on {resolved.suite.suite}, {named}")
    arms = [expected(one) for one in plan_arms(resolved.runs, Changes())]
    for one in measure(arms, where, random_weights=random_weights):
        for line in _lines(one, card):
            typer.echo(line)
        if save:
            path = measured_file(out, named)
            keep(path, named, [one])
    if save:
        typer.echo(f"kept in {path}")


def _lines(one: ArmMeasurement, card: Gpu | None) -> list[str]:
    weights = "random weights" if one.random_weights else "its weights"
    frames, height, width = one.video
    sizes = f"{frames} frames of {height} x {width}, batch {one.batch}"
    return [
        f"{one.arm} on {one.reward}: {sizes}, {one.precision}, {one.memory} on, {weights}",
        f"  update  {_spent(one.training, 'query', one.precision, card)}",
        f"  look    {_spent(one.look, 'video', one.precision, card)}",
    ]


def _spent(spent: Spent, unit: str, precision: str, card: Gpu | None) -> str:
    memory = f"{spent.bytes / _GIB:.2f} GiB (estimated {spent.estimated_bytes / _GIB:.2f})"
    work = f"{spent.flops / 1e12:.4g} TFLOP"
    if spent.estimated_flops != spent.flops:
        work += f" (estimated {spent.estimated_flops / 1e12:.4g})"
    rate = f"{spent.rate / 1e12:.3g} TFLOP/s"
    if card is not None:
        rate += f", {spent.rate / card.rate(precision):.0%} of the card's rate"
    return f"{memory}, {work}, {spent.seconds_a_video:.3g} s a {unit}, {rate}"
