"""Checks in processes, their limits and their report."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from vader_bench.gpu_check import runner
from vader_bench.gpu_check.outcome import CheckOutcome
from vader_bench.gpu_check.runner import Check, done, run_checks


def halves(device: str) -> Iterator[CheckOutcome]:
    """Yield one outcome of two, and end as a crash does."""
    yield CheckOutcome(name="first", verdict="passed", why=device)
    os._exit(3)


def slow(device: str) -> Iterator[CheckOutcome]:
    yield CheckOutcome(name="first", verdict="passed", why=device)
    sleep(600)


@pytest.mark.slow
def test_what_a_process_found_before_it_died_is_kept() -> None:
    first, second = done(Check(("first", "second"), 100, halves), "cpu", monotonic() + 100)
    assert (first.verdict, first.why) == ("passed", "cpu")
    assert (second.verdict, second.why) == ("failed", "its process ended with code 3; what it said is above")


@pytest.mark.slow
def test_a_check_that_takes_too_long_is_ended() -> None:
    first, second = done(Check(("first", "second"), 20, slow), "cpu", monotonic() + 100)
    assert first.verdict == "passed"
    assert (second.verdict, second.why) == ("failed", "took longer than 20 s")


@pytest.mark.slow
def test_a_check_that_the_end_of_all_cuts_off_has_not_failed() -> None:
    *_, last = done(Check(("first", "second"), 100, slow), "cpu", monotonic() + 3)
    assert (last.verdict, last.why) == ("skipped", "the time for all checks ended before it did")


def test_without_time_a_check_is_skipped() -> None:
    (outcome,) = done(Check(("first",), 20, slow), "cpu", monotonic() - 1)
    assert (outcome.verdict, outcome.why) == ("skipped", "no time was left")


def test_the_report_is_whole_after_each_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, lengths = tmp_path / "report.json", []

    def one(check: Check, device: str, end: float) -> Iterator[CheckOutcome]:
        assert device == "cpu"
        assert end > monotonic()
        yield CheckOutcome(name=check.names[0], verdict="passed")

    monkeypatch.setattr(runner, "done", one)
    outcomes = run_checks(path, 100, lambda _: lengths.append(len(json.loads(path.read_text())["checks"])))
    assert lengths == list(range(1, len(outcomes) + 1))
    verdicts = {outcome.name: (outcome.verdict, outcome.why) for outcome in outcomes}
    assert verdicts["pocket pocket-wan"] == ("passed", "")
    for name in ("tests", "second card", "measure wan2.1", "measure wan2.1 in 16 GB"):
        assert verdicts[name] == ("skipped", "there is no GPU")
    report = json.loads(path.read_text())
    assert report["checks"][0]["name"] == "pocket pocket"
    assert report["packages"]["torch"]
