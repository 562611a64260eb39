"""``study power``: how large a study has to be."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["command"]


def command(
    share: Annotated[
        float, typer.Option(help="Share of answers for the better arm that should be detected.")
    ] = 0.6,
    responses: Annotated[int, typer.Option(min=1, help="Answers to a question and comparison.")] = 300,
    prompts: Annotated[int, typer.Option(min=1, help="Number of prompts.")] = 150,
    raters: Annotated[int, typer.Option(min=1, help="Number of people who answer.")] = 60,
    questions: Annotated[int, typer.Option(min=1, help="Tests: questions times pairs of arms.")] = 2,
    alpha: Annotated[float, typer.Option(help="Level of all tests together.")] = 0.05,
    power: Annotated[float, typer.Option(help="Power that is wanted.")] = 0.8,
    prompt_sd: Annotated[float, typer.Option(help="How far prompts differ, in log-odds.")] = 0.8,
    rater_sd: Annotated[float, typer.Option(help="How far raters differ, in log-odds.")] = 0.4,
) -> None:
    """Say how likely a study is to find a preference, and how large one has to be."""
    from vader_bench.human.analysis.sizing import Wish, power_lines
    from vader_bench.stats.power import Variation

    wish = Wish(share, questions, alpha, power)
    for line in power_lines(wish, responses, prompts, raters, Variation(prompt_sd, rater_sd)):
        typer.echo(line)
