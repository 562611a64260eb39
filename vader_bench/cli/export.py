"""``vader-bench export``: the adapters of a run for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["command"]


def command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    to: Annotated[
        Literal["diffusers", "peft", "merged"],
        typer.Option(help="For load_lora_weights, for PeftModel, or a whole pipeline folder."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; by default exports/ and the run's name.")
    ] = None,
) -> None:
    """Write the adapters of a run in the form that diffusers or peft reads."""
    from vader_bench.training.export import AdapterForm, export_adapter

    folder = out or Path("exports") / f"{run.resolve().name}-{to}"
    lines = export_adapter(run, AdapterForm(to), folder)
    typer.echo("\n".join([f"{folder}; to load it:", *(f"    {line}" for line in lines)]))
