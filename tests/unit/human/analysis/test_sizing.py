"""The numbers of the power table are those of the statistics."""

from __future__ import annotations

import pytest

from vader_bench.errors import UserError
from vader_bench.human.analysis.sizing import Wish, power_lines
from vader_bench.stats.power import Design, Variation, responses_needed, simulate_power

WISH = Wish(share=0.7, tests=2, alpha=0.05, power=0.8)


def cells(line: str) -> list[str]:
    return line[32:].split()


def test_a_design_and_the_one_that_would_do_stand_beside_independent_answers() -> None:
    lines = power_lines(WISH, 80, 40, 20, Variation())
    assert WISH.level == 0.025
    power = simulate_power(Design(40, 2, 20), 0.7, Variation(), alpha=0.025)
    assert cells(lines[3]) == ["answers", "prompts", "raters", "power"]
    assert cells(lines[4]) == ["80", "40", "20", f"{power:.2f}"]
    assert cells(lines[5])[0] == "80"
    assert float(cells(lines[5])[1]) > power
    answers, prompts, raters, reached = cells(lines[6])
    assert (int(answers), raters) == (2 * int(prompts), "20")
    assert float(reached) >= 0.8
    assert cells(lines[7]) == [str(responses_needed(0.7, power=0.8, alpha=0.025)), "0.80"]
    assert int(answers) >= int(cells(lines[7])[0])
    assert not any("few" in line for line in lines)


def test_what_is_out_of_reach_is_said_and_few_prompts_are_warned_of() -> None:
    lines = power_lines(WISH._replace(share=0.52), 40, 20, 10, Variation())
    assert lines[6].startswith("for a power of 0.8: a power of 0.8 is not reached with 10 raters")
    assert lines[-1].startswith("20 prompts are few")


@pytest.mark.parametrize("raters", [3, 4, 7])
def test_few_raters_get_the_power_that_the_analysis_will_have(raters: int) -> None:
    lines = power_lines(WISH, 80, 40, raters, Variation())
    power = simulate_power(Design(40, 2, raters), 0.7, Variation(), alpha=0.025)
    assert cells(lines[4]) == ["80", "40", str(raters), f"{power:.2f}"]
    assert 0.05 < power < 0.7


def test_two_raters_can_find_nothing() -> None:
    with pytest.raises(UserError, match="fewer than 3 prompts or raters, too few for a finding"):
        power_lines(WISH, 80, 40, 2, Variation())


@pytest.mark.parametrize(("responses", "prompts"), [(100, 30), (20, 40)])
def test_answers_go_evenly_over_prompts(responses: int, prompts: int) -> None:
    with pytest.raises(UserError, match=f"multiple of {prompts}"):
        power_lines(WISH, responses, prompts, 20, Variation())
