"""How large a study has to be: the power of a design, and the design that reaches a power."""

from __future__ import annotations

from typing import NamedTuple

from vader_bench.errors import UserError
from vader_bench.stats.power import (
    FEW_PROMPTS,
    Design,
    Variation,
    exact_power,
    plan_design,
    responses_needed,
    simulate_power,
)

__all__ = ["Wish", "power_lines"]


class Wish(NamedTuple):
    """What a study should find."""

    share: float
    """How often one arm is preferred, between 0 and 1."""
    tests: int
    """Questions times pairs of arms."""
    alpha: float
    """Level of the family."""
    power: float

    @property
    def level(self) -> float:
        """Return the level of one test by Bonferroni, which Holm's correction only betters."""
        return self.alpha / self.tests


def power_lines(wish: Wish, responses: int, prompts: int, raters: int, variation: Variation) -> list[str]:
    """Return what can be said of a design, and which design reaches the wanted power, as lines.

    Args:
        wish: what the study should find.
        responses: answers to a question and comparison, a multiple of ``prompts``.
        prompts: number of prompts.
        raters: number of raters.
        variation: how far preferences differ.

    Raises:
        UserError: the numbers make no design, or the share is no preference.
    """
    per_prompt, rest = divmod(responses, prompts)
    if rest or not per_prompt:
        wrong = f"do not go evenly over {prompts} prompts"
        raise UserError(f"{responses} responses", wrong, f"take a multiple of {prompts}")
    design, level = Design(prompts, per_prompt, raters), wish.level
    independent = responses_needed(wish.share, power=wish.power, alpha=level)
    exact = exact_power(wish.share, responses, alpha=level)
    clustered = simulate_power(design, wish.share, variation, alpha=level)
    return [
        f"preference of {wish.share:.1%}; tests: {wish.tests}, each at level {level:.4g}",
        f"prompts vary by {variation.prompt:g}, raters by {variation.rater:g} (log-odds)",
        "",
        _row("", ("answers", "prompts", "raters", "power")),
        _row("this design", (responses, prompts, raters, f"{clustered:.2f}")),
        _row("  were all answers independent", (responses, "", "", f"{exact:.2f}")),
        _reached(wish, per_prompt, raters, variation),
        _row("  were all answers independent", (independent, "", "", f"{wish.power:.2f}")),
        "",
        *_advice(design),
    ]


def _reached(wish: Wish, per_prompt: int, raters: int, variation: Variation) -> str:
    """Return the row of the design that reaches the power, or why none does."""
    label = f"for a power of {wish.power:g}"
    try:
        plan = plan_design(
            wish.share, variation, per_prompt=per_prompt, raters=raters, power=wish.power, alpha=wish.level
        )
    except UserError as error:
        return f"{label}: {error.wrong}; {error.remedy}"
    design = plan.design
    return _row(label, (design.responses, design.prompts, design.raters, f"{plan.power:.2f}"))


def _row(label: str, cells: tuple[str | int, ...]) -> str:
    return f"{label:<32}" + "".join(f"{cell:>9}" for cell in cells)


def _advice(design: Design) -> list[str]:
    lines = ["The first power is simulated with the two-way clustered test that `study analyze` uses."]
    if design.prompts < FEW_PROMPTS:
        lines.append(f"{design.prompts} prompts are few: the result would hardly speak of others.")
    return lines
