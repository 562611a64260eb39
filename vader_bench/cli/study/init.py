"""``study init``: a study file to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["command"]


def command(
    first: Annotated[
        Path,
        typer.Argument(
            metavar="A", help="Results folder of a run or folder of videos: the one to compare with."
        ),
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="The same of the other arm.")],
    prompts: Annotated[
        str, typer.Argument(metavar="PROMPTS", help="Text file, one prompt a line, or a packaged set.")
    ],
    out: Annotated[Path, typer.Option(help="Study file to write.")] = Path("study.yaml"),
) -> None:
    """Write a study file with a word on every choice."""
    import shlex

    from vader_bench.human.package.starter import write_starter

    write_starter(out, first, second, prompts)
    typer.echo(f"wrote {out}: fill in what is in CAPITALS, then")
    typer.echo(f"  vader-bench study build {shlex.quote(str(out))}")
