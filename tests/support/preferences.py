"""Invented answers of human raters, with known preferences."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.special import expit

from vader_bench.seeding import numpy_stream
from vader_bench.stats.power import Design, assign_raters
from vader_bench.stats.preference import Answer, Response


def answer(number: int, chosen: Answer, *, first_left: bool = True, question: str = "text") -> Response:
    """Return an answer of a rater and about a prompt of its own."""
    left, right = ("vader", "base") if first_left else ("base", "vader")
    return Response(f"rater {number}", f"prompt {number}", question, left, right, chosen)


def answers(wins: int, losses: int, ties: int = 0, *, question: str = "text") -> list[Response]:
    """Return independent answers with these counts for ``vader`` against ``base``, sides alternating."""
    outcomes = [1] * wins + [-1] * losses + [0] * ties
    found = []
    for number, outcome in enumerate(outcomes):
        first_left = number % 2 == 0
        side: Answer = "tie" if outcome == 0 else "left" if (outcome > 0) == first_left else "right"
        found.append(answer(number, side, first_left=first_left, question=question))
    return found


def study(
    strengths: dict[str, float],
    *,
    prompts: int = 50,
    per_prompt: int = 3,
    raters: int = 30,
    spread: tuple[float, float] = (0.8, 0.4),
    root: int = 0,
) -> list[Response]:
    """Return answers of crossed raters and prompts, which both shift the log-odds of every pair.

    ``spread`` holds the standard deviations of those shifts, by prompt and by rater.
    """
    stream = numpy_stream(root, "study")
    arms = list(strengths)
    tastes = stream.normal(0, spread[0], (prompts, len(arms))) / np.sqrt(2)
    habits = stream.normal(0, spread[1], (raters, len(arms))) / np.sqrt(2)
    found = []
    for first, second in combinations(range(len(arms)), 2):
        for turn, row in enumerate(assign_raters(Design(prompts, per_prompt, raters), stream)):
            for prompt, rater in enumerate(row):
                worth = list(strengths.values()) + tastes[prompt] + habits[rater]
                first_left = (prompt + turn) % 2 == 0
                chosen = stream.random() < expit(worth[first] - worth[second])
                left, right = (first, second) if first_left else (second, first)
                side: Answer = "left" if chosen == first_left else "right"
                found.append(Response(f"r{rater}", f"p{prompt}", "text", arms[left], arms[right], side))
    return found
