"""``vader-bench sample``: videos of a trained model beside those of its base model, from the same noise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vader_bench.cli._options import Device

__all__ = ["command"]

_SHOWN = 8
"""Prompts that are taken where none are given."""


def command(
    run: Annotated[str, typer.Argument(help="Folder of a finished run, or a suite for its base model.")],
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="Text or .jsonl file, one prompt a line; by default held-out prompts of the suite."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Videos of each prompt.")] = 1,
    scale: Annotated[float, typer.Option(min=0, help="Of the adapters: 0 is the base model.")] = 1.0,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; by default samples/ and the run's name.")
    ] = None,
    device: Device = None,
) -> None:
    """Sample a run's model and its base model, and show the videos side by side on a page."""
    from vader_bench.cli._progress import bar
    from vader_bench.interface.comparison import sample_pair, suite_prompts
    from vader_bench.interface.models import load_model
    from vader_bench.launch.local import one_device
    from vader_bench.prompts.sets import load_prompts

    model = load_model(run, one_device(device), prompts)
    texts = load_prompts(str(prompts)).split("train") if prompts else suite_prompts(model.suite, _SHOWN)
    folder = out or Path("samples") / _called(run)
    videos = len(texts) * samples * (1 if model.lora is None else 2)
    with bar("sampling", videos) as sampled:
        page = sample_pair(model, texts, samples, scale, folder, sampled)
    typer.echo(f"{videos} videos of {len(texts)} prompts: {page}")


def _called(run: str) -> str:
    """Return the name of a run's folder, or of a suite; there may be dots in both."""
    path = Path(run).resolve()
    return path.stem if path.suffix in {".yaml", ".yml"} else path.name
