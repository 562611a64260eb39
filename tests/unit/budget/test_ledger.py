from __future__ import annotations

import pytest

from vader_bench.budget import ledger as module
from vader_bench.budget.ledger import Budget, BudgetExceededError, Ledger, Meter


class Clock:
    """A clock that tests move by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "perf_counter", clock)
    return clock


def meter(queries: int = 10) -> Meter:
    return Meter(Budget(reward_queries=queries))


def test_queries_are_charged_up_to_the_budget() -> None:
    spent = meter(10)
    spent.charge_queries(4, frames=32, gradient=True)
    spent.charge_queries(6, frames=12, gradient=False)
    assert spent.queries_left == 0
    assert spent.ledger == Ledger(reward_queries=10, gradient_queries=4, frames_scored=44)


def test_a_charge_beyond_the_budget_charges_nothing() -> None:
    spent = meter(10)
    spent.charge_queries(8, frames=8, gradient=False)
    with pytest.raises(BudgetExceededError, match="3 reward queries asked, 2 left"):
        spent.charge_queries(3, frames=3, gradient=True)
    assert spent.ledger == Ledger(reward_queries=8, frames_scored=8)


def test_a_ledger_survives_its_dictionary() -> None:
    ledger = Ledger(reward_queries=3, flops=10**18, device_seconds=0.1)
    assert Ledger.from_dict(ledger.as_dict()) == ledger


def test_a_dictionary_with_other_fields_is_refused() -> None:
    counts = Ledger().as_dict()
    del counts["flops"]
    with pytest.raises(ValueError, match="'flops'"):
        Ledger.from_dict(counts)


def test_only_the_time_of_the_method_counts(clock: Clock) -> None:
    spent = meter()
    clock.now = 5.0
    with spent.running():
        clock.now = 7.0
        with spent.paused():
            clock.now = 100.0
        clock.now = 101.0
    clock.now = 200.0
    assert spent.ledger.device_seconds == 3.0


def test_a_pause_outside_of_the_method_changes_nothing(clock: Clock) -> None:
    spent = meter()
    with spent.paused():
        clock.now = 5.0
    assert spent.ledger.device_seconds == 0.0


def test_time_counts_although_the_method_fails(clock: Clock) -> None:
    spent = meter()

    def fail() -> None:
        with spent.running():
            clock.now = 2.0
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert spent.ledger.device_seconds == 2.0


def test_the_device_is_waited_for_at_every_border() -> None:
    waits: list[int] = []
    spent = Meter(Budget(reward_queries=1), synchronise=lambda: waits.append(1))
    with spent.running():
        assert len(waits) == 1
        with spent.paused():
            assert len(waits) == 2
        assert len(waits) == 3
    assert len(waits) == 4
