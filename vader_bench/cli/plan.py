"""``vader-bench plan``: what an experiment would cost and whether it fits a card, from its files alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vader_bench.cli._options import Quick, Suite

if TYPE_CHECKING:
    from vader_bench.cost.gpus import Gpu
    from vader_bench.cost.whatif import Planned
    from vader_bench.experiment.resolve import ResolvedExperiment

__all__ = ["command"]

_GIB = 2**30
_SMALL = "16 GB"
"""What a card of that size is called, for which there is always a verdict."""


def command(
    experiment: Annotated[Path, typer.Argument(help="Experiment: a packaged name or a file.")],
    suite: Suite = None,
    quick: Quick = False,
    gpu: Annotated[str, typer.Option(help="Card to plan for; an unknown name lists all.")] = "rtx-4080",
    frames: Annotated[int | None, typer.Option(min=1, help="Plan for videos of this many frames.")] = None,
    height: Annotated[
        int | None, typer.Option(min=1, help="Plan for videos of this height, in pixels.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Plan for videos of this width, in pixels.")
    ] = None,
    k: Annotated[
        int | None, typer.Option(min=1, help="Plan for this many steps with gradient in VADER.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Plan for batches of this many videos.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Plan for frozen weights in fp32, fp16 or bf16.")
    ] = None,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Plan for a denoiser that recomputes its activations.")
    ] = False,
) -> None:
    """Say what each arm of an experiment would spend and need on a card. Needs no GPU and no weights."""
    from vader_bench.cost.gpus import SMALL, find_gpu
    from vader_bench.cost.whatif import Changes, frozen_weights, plan_arms
    from vader_bench.experiment.resolve import resolve_experiment

    card = find_gpu(gpu)
    sizes = {"frames": frames, "height": height, "width": width}
    changes = Changes(
        backbone={key: value for key, value in sizes.items() if value is not None},
        memory=frozen_weights(precision) | ({"checkpointing": True} if checkpointing else {}),
        settings={} if k is None else {"k": k},
        batch=batch,
    )
    resolved = resolve_experiment(experiment, suite, quick, with_weights=False)
    planned = plan_arms(resolved.runs, changes)
    cards = {gpu: card} if card.memory == SMALL.memory else {gpu: card, _SMALL: SMALL}
    for line in _lines(resolved, planned, card, cards):
        typer.echo(line)


def _lines(
    resolved: ResolvedExperiment, planned: Sequence[Planned], card: Gpu, cards: dict[str, Gpu]
) -> Iterator[str]:
    from vader_bench.cost.estimate import RESERVE, UTILISATION

    name, suite = resolved.experiment.experiment, resolved.suite.suite
    yield f"{name} on {suite}, {next(iter(cards))} ({card.memory / _GIB:.1f} GiB)"
    yield from dict.fromkeys(map(_told, planned))
    yield from _uncounted(planned)
    yield from _table(planned, card, cards)
    seeds = len(resolved.experiment.seeds)
    hours = seeds * sum(one.estimate.seconds(card, one.precision) for one in planned) / 3600
    yield f"a row is one run; {seeds} {'seeds' if seeds > 1 else 'seed'} of all of them: {hours:.3g} hours"
    rates = dict.fromkeys(f"{card.rate(one.precision) / 1e12:g}" for one in planned)
    rate = " or ".join(rates)
    yield f"hours: training only, at an assumed {UTILISATION:.0%} of the card's {rate} TFLOP/s"
    videos = " or ".join(dict.fromkeys(str(one.run.suite.evaluation_batch) for one in planned))
    yield (
        f"GiB: most at once while training; look: at looks, {videos} videos at a time; "
        f"fits if {RESERVE / _GIB:g} GiB of the card are left"
    )
    for name, size in cards.items():
        yield from _advice(planned, name, size)


def _uncounted(planned: Sequence[Planned]) -> Iterator[str]:
    """Yield a line where the cost of a reward is not known."""
    from vader_bench.rewards.base import counted

    rewards = {one.run.reward: one.run.suite.rewards[one.run.reward] for one in planned}
    names = [name for name, reward in rewards.items() if not counted(reward.family, reward.settings)]
    if names:
        yield f"not counted, because only a run can measure it: what {' and '.join(names)} costs"


def _told(one: Planned) -> str:
    """Return the sizes and switches that all memory is computed for."""
    frames, height, width = one.video
    sampler, memory = one.run.suite.sampler, one.run.suite.memory
    guidance = " and ".join(f"{g:g}" for g in (sampler.guidance, sampler.guidance_2) if g is not None)
    switched = [key for key in ("checkpointing", "slicing", "offload_activations") if getattr(memory, key)]
    return (
        f"{frames} frames of {height} x {width}, {sampler.steps} steps, guidance {guidance}, "
        f"frozen weights {memory.frozen_weights}, {' and '.join(switched) or 'no switch'} on"
    )


def _table(planned: Sequence[Planned], card: Gpu, cards: dict[str, Gpu]) -> list[str]:
    varied = list(dict.fromkeys(key for one in planned for key in one.settings.what_ifs))
    heads = [
        "method", "reward", "batch", *varied, "decoded", "queries", "TFLOP", "hours", "GiB", "weights",
        "kept", "look", *cards,
    ]  # fmt: skip
    rows = [heads]
    for one in planned:
        found, memory = one.estimate, one.estimate.memory
        rows.append(
            [
                found.method,
                found.reward,
                str(one.settings.batch_size),
                *(str(getattr(one.settings, key, "")) for key in varied),
                str(one.decoded),
                str(found.queries),
                f"{found.flops / 1e12:.4g}",
                f"{found.seconds(card, one.precision) / 3600:.3g}",
                *(
                    f"{part / _GIB:.2f}"
                    for part in (memory.total, memory.weights, memory.kept, found.look.total)
                ),
                *("fits" if found.most.fits(size) else "no" for size in cards.values()),
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    return [
        "  ".join(
            cell.ljust(width) if column in {0, 1} or column >= len(heads) - len(cards) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _advice(planned: Sequence[Planned], name: str, card: Gpu) -> Iterator[str]:
    """Yield what would make each arm fit ``card``, or that all do."""
    from vader_bench.cost.whatif import switches

    large = [one for one in planned if not one.estimate.most.fits(card)]
    if not large:
        yield f"fits {name}: every arm"
        return
    yield f"does not fit {name}; GiB with each further switch added:"
    for one in large:
        steps = list(switches(one, card))
        told = ", ".join(f"{step.name} {step.memory.total / _GIB:.1f}" for step in steps)
        verdict = "fits" if steps and steps[-1].memory.fits(card) else "does not fit"
        yield f"  {one.estimate.method} on {one.estimate.reward}: {told or 'no switch is left'}: {verdict}"
