"""``vader-bench plan``: what an experiment would cost and whether it fits a card, from its files alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vader_bench.cli._options import Devices, Out, Quick, Suite

if TYPE_CHECKING:
    from vader_bench.config.schema import ComponentConfig, SuiteConfig
    from vader_bench.cost.gpus import Gpu
    from vader_bench.cost.hours import Hours
    from vader_bench.cost.whatif import Planned

__all__ = ["command"]

_GIB = 2**30
_SMALL = "16 GB"
"""What a card of that size is called, for which there is always a verdict."""
_LARGE = 8 * 64 * 64
"""Numbers of pixels in a video of the pocket suites, whose models move within a few updates."""
_FEW = "AlignProp makes 20 to 25 of 128 pictures each, VADER 450 of 8 videos each: give a larger budget"
"""What is known of how many it takes: huggingface/trl's AlignProp, and the code of VADER."""

_Frames = Annotated[int | None, typer.Option(min=1, max=4096, help="Plan for videos of this many frames.")]
_Height = Annotated[
    int | None, typer.Option(min=1, max=8192, help="Plan for videos of this height, in pixels.")
]
_Width = Annotated[
    int | None, typer.Option(min=1, max=8192, help="Plan for videos of this width, in pixels.")
]


def command(
    experiment: Annotated[Path, typer.Argument(help="Experiment: a packaged name or a file.")],
    suite: Suite = None,
    quick: Quick = False,
    gpu: Annotated[str, typer.Option(help="Card to plan for; an unknown name lists all.")] = "rtx-4080",
    frames: _Frames = None,
    height: _Height = None,
    width: _Width = None,
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
    devices: Devices = 1,
    out: Out = Path("results"),
) -> None:
    """Say what each arm of an experiment would spend and need on a card. Needs no GPU and no weights."""
    from vader_bench.cost.gpus import SMALL, find_gpu
    from vader_bench.cost.hours import Hours
    from vader_bench.cost.measured import Utilisation, kept, measured_file
    from vader_bench.cost.whatif import Changes, frozen_weights, plan_arms
    from vader_bench.experiment.resolve import require_devices, resolve_experiment

    card = find_gpu(gpu)
    sizes = {"frames": frames, "height": height, "width": width}
    changes = Changes(
        backbone={key: value for key, value in sizes.items() if value is not None},
        memory=frozen_weights(precision) | ({"checkpointing": True} if checkpointing else {}),
        settings={} if k is None else {"k": k},
        batch=batch,
    )
    resolved = resolve_experiment(experiment, suite, quick, with_weights=False)
    planned = plan_arms(resolved.runs, changes, devices)
    require_devices([one.run for one in planned], devices)
    cards = {gpu: card} if card.memory == SMALL.memory else {gpu: card, _SMALL: SMALL}
    file = measured_file(out, gpu)
    hours = Hours(planned, card, Utilisation(kept(file), card))
    name, of = resolved.experiment.experiment, resolved.suite
    typer.echo(f"{name} on {of.suite}, {gpu} ({card.memory / _GIB:.1f} GiB)")
    seeds = len(resolved.experiment.seeds)
    for line in (
        *dict.fromkeys(map(_told, planned)),
        *_uncounted(planned),
        *_table(planned, hours, cards),
        *_time(planned, hours, seeds, file, devices),
        *_updates(planned),
        *_disk(planned, of, resolved.experiment.needed_rewards, seeds),
        *(line for name, size in cards.items() for line in _advice(planned, name, size, of.suite)),
    ):
        typer.echo(line)


def _time(planned: Sequence[Planned], hours: Hours, seeds: int, file: Path, devices: int) -> Iterator[str]:
    """Yield what all runs take together, and how that was found."""
    from vader_bench.cost.estimate import RESERVE

    training = seeds * sum(map(hours.training, planned))
    looks, base = seeds * sum(map(hours.looks, planned)), hours.base()
    yield (
        f"a row is one run; {seeds} {'seeds' if seeds > 1 else 'seed'} of all of them: "
        f"{training + looks + base:.3g} hours: {training:.3g} of training, {looks:.3g} of looks, "
        f"{base:.3g} of looks at the base model"
    )
    shares = " or ".join(dict.fromkeys(map(hours.said, planned)))
    together = f" of {devices} cards together" if devices > 1 else ""
    yield f"hours{together}: at {shares} TFLOP/s" + (f" ({file})" if hours.measured else "")
    videos = " or ".join(dict.fromkeys(str(one.run.suite.evaluation_batch) for one in planned))
    yield (
        f"GiB: most at once while training; look: at looks, {videos} videos at a time; "
        f"fits if {RESERVE / _GIB:g} GiB of the card are left"
    )


def _updates(planned: Sequence[Planned]) -> Iterator[str]:
    """Yield a line about arms that make too few updates to show anything."""
    from vader_bench.cost.estimate import FEW_UPDATES

    few = [one.estimate for one in planned if one.estimate.updates < FEW_UPDATES]
    if few and any(one.video[0] * one.video[1] * one.video[2] > _LARGE for one in planned):
        told = ", ".join(f"{one.method} on {one.reward} {one.updates}" for one in few)
        yield f"few updates: {told}; {_FEW}"


def _disk(
    planned: Sequence[Planned], suite: SuiteConfig, rewards: Sequence[str], seeds: int
) -> Iterator[str]:
    """Yield what is to be fetched, and what it and the results take on a disk."""
    from vader_bench.cost.disk import parameters, results_bytes
    from vader_bench.experiment.resolve import weights_to_fetch

    results = seeds * sum(map(results_bytes, planned))
    yield f"results: about {results / 1e9:.3g} GB of adapters and checkpoints"
    lacking = weights_to_fetch(suite, rewards)
    if not lacking:
        return
    count = parameters(planned)
    least, most = 2 * count / 1e9, 4 * count / 1e9
    yield f"weights: {least:.3g} to {most:.3g} GB (2 or 4 bytes a parameter); {len(lacking)} to fetch:"
    for error in lacking:
        yield f"  {error.remedy.partition('`')[2].rstrip('`')}"


def _uncounted(planned: Sequence[Planned]) -> Iterator[str]:
    """Yield a line where the cost of a reward, of its gold or of a judge is not known."""
    from vader_bench.rewards.base import counted

    rewards: dict[str, ComponentConfig] = {}
    for run in (one.run for one in planned):
        asked = (run.reward, *run.other_judges)
        rewards |= {name: run.suite.rewards[name] for name in asked}
        if (gold := run.suite.gold_for(run.reward)) is not None:
            rewards[f"the gold of {run.reward}"] = gold
    names = [name for name, reward in rewards.items() if not counted(reward.family, reward.settings)]
    if names:
        yield f"not counted, because only a run can measure it: what {' and '.join(names)} costs"


def _told(one: Planned) -> str:
    """Return the sizes and switches that all memory is computed for."""
    from vader_bench.cost.whatif import switched_on

    frames, height, width = one.video
    sampler, memory = one.run.suite.sampler, one.run.suite.memory
    guidance = " and ".join(f"{g:g}" for g in (sampler.guidance, sampler.guidance_2) if g is not None)
    return (
        f"{frames} frames of {height} x {width}, {sampler.steps} steps, guidance {guidance}, "
        f"frozen weights {memory.frozen_weights}, {switched_on(memory)} on"
    )


def _table(planned: Sequence[Planned], hours: Hours, cards: dict[str, Gpu]) -> list[str]:
    varied = list(dict.fromkeys(key for one in planned for key in one.settings.what_ifs))
    heads = [
        "method", "reward", "batch", *varied, "decoded", "queries", "updates", "TFLOP", "hours", "looks",
        "GiB", "weights", "kept", "look", *cards,
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
                str(found.updates),
                f"{found.flops / 1e12:.4g}",
                f"{hours.training(one):.3g}",
                f"{hours.looks(one):.3g}",
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


def _advice(planned: Sequence[Planned], name: str, card: Gpu, suite: str) -> Iterator[str]:
    """Yield what would make each arm fit ``card``, with the suite file that says so, or that all do."""
    from vader_bench.cost.whatif import advised, switches

    large = [one for one in planned if not one.estimate.most.fits(card)]
    if not large:
        yield f"fits {name}: every arm"
        return
    yield f"does not fit {name}; GiB with each further switch added:"
    found = [(one, list(switches(one, card))) for one in large]
    for one, steps in found:
        told = ", ".join(f"{step.name} {step.memory.total / _GIB:.1f}" for step in steps)
        verdict = "fits" if steps and steps[-1].memory.fits(card) else "does not fit"
        yield f"  {one.estimate.method} on {one.estimate.reward}: {told or 'no switch is left'}: {verdict}"
    if said := advised([steps for _, steps in found]):
        yield "a suite file with them, for `--suite` (what arms set in the experiment stands before it):"
        yield from _suite_file(f"{suite}-{name.replace(' ', '').lower()}", suite, said)


def _suite_file(name: str, base: str, said: Mapping[str, object]) -> list[str]:
    from vader_bench.config.yamlfile import dump_yaml
    from vader_bench.experiment.load import suite_names

    extends = base if base in suite_names() else f"{base}.yaml"
    text = dump_yaml({"suite": name, "extends": extends, **said})
    return [f"  {line}" for line in text.splitlines()]
