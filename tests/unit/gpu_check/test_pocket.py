"""Steps on the pocket suites, and when they count as the same."""

from __future__ import annotations

import pytest

from vader_bench.gpu_check import pocket
from vader_bench.gpu_check.pocket import compare_pocket, largest_difference
from vader_bench.methods import METHODS

STEP = {"reward": 5.0, "loss": -5.0, "grad_norm": 0.5, "k": 1.0}


def test_differences_are_relative_and_in_units_of_the_tolerance() -> None:
    assert largest_difference([STEP, STEP], [STEP, STEP]) == 0
    first, second = STEP | {"grad_norm": 0.51}, STEP | {"grad_norm": 0.55}
    assert largest_difference([STEP, STEP], [first, STEP]) == pytest.approx(1.0)  # 2 % of the first step
    assert largest_difference([STEP, STEP], [STEP, second]) == pytest.approx(0.5)  # 20 % of the second
    assert largest_difference([STEP, STEP], [STEP | {"k": 9.0}, STEP]) == 0


@pytest.mark.slow
def test_every_method_makes_finite_steps_on_the_cpu() -> None:
    (outcome,) = compare_pocket("pocket", "cpu")
    assert (outcome.name, outcome.verdict, outcome.why) == ("pocket pocket", "passed", "")
    assert [one.method for one in outcome.steps] == list(METHODS.table)
    assert all(one.finite and one.difference is None for one in outcome.steps)


@pytest.mark.parametrize("wrong", [float("nan"), 6.0])
def test_what_is_not_finite_or_not_the_same_fails(wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(suite: str, method: str, device: str) -> list[dict[str, float]]:
        return [STEP, STEP | ({"reward": wrong} if (method, device) == ("nft", "cuda:0") else {})]

    monkeypatch.setattr(pocket, "TOLERANCE", (0.02, 0.1))
    monkeypatch.setattr(pocket, "_steps", steps)
    (outcome,) = compare_pocket("pocket", "cuda:0")
    assert outcome.verdict == "failed"
    assert outcome.why == "differs from the CPU or is not finite: nft"
