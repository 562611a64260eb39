"""Options that several verbs share. None of them is a hyper-parameter: those stand in YAML files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Device", "Devices", "Executor", "ExecutorName", "Out", "Quick", "Seeds", "Storage", "Suite", "Tracking",
    "Workers",
]  # fmt: skip


class ExecutorName(StrEnum):
    """What executes runs."""

    LOCAL = "local"
    RAY = "ray"


Suite = Annotated[
    str | None, typer.Option(help="Suite to use in place of the experiment's: a name or a file.")
]
Quick = Annotated[bool, typer.Option("--quick", help="Take the experiment's smaller form.")]
Device = Annotated[
    str | None,
    typer.Option(help="Where the models compute, cpu or cuda:0; by default a GPU if there is one."),
]
Devices = Annotated[
    int, typer.Option(min=1, help="GPUs, or processes on the CPU, that train a run together.")
]
Out = Annotated[Path, typer.Option(help="Folder of all results; <experiment>/<suite> is made in it.")]
Seeds = Annotated[
    int | None, typer.Option(min=1, help="How many seeds; by default those that the experiment names.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Runs at a time; by default one a GPU, else one a core.")
]
Executor = Annotated[
    ExecutorName, typer.Option(help="What executes runs: this machine, or the Ray cluster of RAY_ADDRESS.")
]
Storage = Annotated[
    str | None,
    typer.Option(help="Object store that runs pass through, if machines of the cluster do not see --out."),
]
Tracking = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_TRACKING_URI", help="MLflow store; by default mlflow.db in the results folder."
    ),
]
