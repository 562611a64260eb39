"""``vader-bench score``: what a reward says of a folder of videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vader_bench.cli._options import Device

__all__ = ["command"]


def command(
    folder: Annotated[Path, typer.Argument(help="Folder of videos.")],
    reward: Annotated[
        str, typer.Option(help="A reward of the suite; `gold:NAME` is the truth that it imitates.")
    ],
    suite: Annotated[str, typer.Option(help="A packaged suite, or a suite file.")] = "pocket",
    prompts: Annotated[
        Path | None,
        typer.Option(help="Text file, one prompt a video, in the order of names; by default videos.csv."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write the scores to.")] = None,
    device: Device = None,
) -> None:
    """Score every video of a folder by a reward, and say the mean."""
    from vader_bench import files
    from vader_bench.cli._progress import bar
    from vader_bench.interface.models import load_reward
    from vader_bench.interface.videos import folder_prompts, score
    from vader_bench.launch.local import one_device
    from vader_bench.report.curves import frame_csv

    device = one_device(device)
    given = None
    if prompts is not None:  # prompts may be the same, so that it is no prompt set; blank lines do not count
        given = [line for line in files.read_text(prompts).splitlines() if line.strip()]
    judge = load_reward(suite, reward, device)
    with bar("scoring", len(folder_prompts(folder, given))) as scored:
        found = score(folder, judge, given, device=device, scored=scored)
    if out is None:
        typer.echo(frame_csv(found), nl=False)
    else:
        files.write_text(out, frame_csv(found))
    spread = f", standard deviation {found['score'].std():.4g}" if len(found) > 1 else ""
    mean = f"mean {found['score'].mean():.4g}{spread}, {len(found)} videos, {judge.units}"
    typer.echo(mean, err=True)
