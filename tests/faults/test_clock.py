"""A clock that jumps: what it says decides no number, and nothing that was sent is sent twice."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.faults.conftest import Whole
from tests.support.apart import apart
from tests.support.deaths import Counted, Death, contents, die_in, own_files, train
from tests.support.folders import finish_run, start_run
from tests.support.stores import new_results, points_of, stored
from tests.unit.records.tracking.test_sender import METRICS, NAME
from vader_bench.records.tracking import Tracker

HOUR = 3600.0


def jump(seed: int) -> Callable[[], float]:
    """Return a clock that stands, at each look, up to an hour before or after the right time."""
    clock, jumps = time.time, random.Random(seed)
    return lambda: clock() + jumps.uniform(-HOUR, HOUR)


def let_it_jump(seed: int, then: Callable[[], object] = int) -> None:
    """Let the clock of this process jump."""
    jumping = jump(seed)
    time.time = jumping
    time.time_ns = lambda: round(jumping() * 1e9)
    then()


@pytest.mark.parametrize("method", ["vader", "ddpo", "diffusion-dpo"])
def test_a_run_does_not_look_at_the_clock(
    method: str, whole: Callable[[str], Whole], counted: Counted, tmp_path: Path
) -> None:
    undisturbed, folder = whole(method), tmp_path / method
    death = Death("update", 9)
    faults: list[Callable[[], object]] = [partial(die_in, method, death), int]
    for seed, then in enumerate(faults):
        fault = partial(let_it_jump, seed, then)
        found = apart(partial(train, undisturbed.config, folder, counted, fault))
        assert found.code == (0 if then is int else -signal.SIGKILL)
        assert found.error is None
    assert own_files(folder) == undisturbed.names
    assert contents(folder) == undisturbed.left
    spent = contents(folder)["metrics.jsonl"]
    assert [line["queries"] for line in spent if line["kind"] == "step"] == sorted(
        line["queries"] for line in spent if line["kind"] == "step"
    )


def test_all_points_are_in_the_store_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = new_results(tmp_path / "results")
    said: list[str] = []
    monkeypatch.setattr(time, "time", jump(3))
    for _ in range(2):  # the second launcher finds what the first one sent
        tracker = Tracker(results / "small" / "tiny", None, said.append)
        run = results / "small" / "tiny" / "runs" / NAME
        if not run.exists():
            run = start_run(results)
        tracker.watch(run)
        tracker.finish()
    finish_run(run)
    tracker = Tracker(results / "small" / "tiny", None, said.append)
    tracker.watch(run)
    tracker.ended(run)
    tracker.finish()
    found = stored(results)[NAME]
    assert points_of(results, found) == METRICS
    assert found.info.status == "FINISHED"
    assert found.info.end_time >= found.info.start_time
    assert said == []
