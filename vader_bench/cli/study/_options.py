"""What several verbs of ``study`` take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vader_bench.errors import UserError

if TYPE_CHECKING:
    from vader_bench.human.plan import Built
    from vader_bench.human.rehearsal.raters import Raters

__all__ = [
    "Broken", "Careless", "Environment", "Folder", "Lapse", "Prefer", "Seed", "Shares", "SideBias", "Ties",
    "liking", "planted",
]  # fmt: skip

Folder = Annotated[Path, typer.Argument(help="Folder of the study, as `build` wrote it.")]
Environment = Annotated[
    Path | None, typer.Option(help="Folder of Turkle's environment; by default one in the user's cache.")
]
Prefer = Annotated[str | None, typer.Option(help="Arm that simulated raters prefer; by default none.")]
Shares = Annotated[
    list[float],
    typer.Option(
        "--share",
        help="How often they prefer it to another arm, by default 0.65; again for each further question.",
    ),
]
_SHARES = [0.65]
Careless = Annotated[float, typer.Option(help="Share of them who do not watch.")]
SideBias = Annotated[float, typer.Option(help="Log-odds added to the left side.")]
Lapse = Annotated[float, typer.Option(help="Share of careful answers that are a toss of a coin.")]
Ties = Annotated[float, typer.Option(help="Share of answers that are about the same.")]
Broken = Annotated[float, typer.Option(help="How often a video does not play.")]
Seed = Annotated[int, typer.Option(min=0, help="Root of all their draws.")]


def planted(built: Built, habits: Raters, arm: str | None, shares: list[float]) -> Raters:
    """Return raters of these ``habits`` who prefer ``arm``, if any, by one share or by one for each question.

    Raises:
        UserError: the shares are neither one nor as many as the questions, out of range, or of no arm.
    """
    from vader_bench.human.rehearsal.raters import even_raters, prefer

    questions = [question.id for question in built.plan.questions]
    raters = replace(habits, strengths=even_raters(habits.seed, built.arms, questions).strengths)
    if arm is None and shares:
        raise UserError("--share", "is given without an arm", f"add --prefer {built.arms[0]} or another arm")
    if arm is None:
        return raters
    shares = shares or _SHARES
    if len(shares) not in {1, len(questions)}:
        wrong = f"is given {len(shares)} times for {len(questions)} questions"
        raise UserError("--share", wrong, f"give it once, or for each of {', '.join(questions)}")
    each = shares * len(questions) if len(shares) == 1 else shares
    return prefer(raters, arm, dict(zip(questions, each, strict=True)))


def liking(arm: str | None, shares: list[float]) -> str:
    """Return in words whom simulated raters prefer."""
    if arm is None:
        return "no arm"
    return f"{arm} in {', '.join(f'{share:.0%}' for share in shares or _SHARES)} of pairs"
