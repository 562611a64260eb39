"""Checks in processes of their own, each with a limit of time, and a report after each."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic, perf_counter
from typing import NamedTuple

import torch

from vader_bench.gpu_check.models import MODELS, PlannedModel, measure_model, outcome_names, plan_model
from vader_bench.gpu_check.outcome import CheckOutcome, write_report
from vader_bench.gpu_check.pocket import POCKET_SUITES, compare_pocket, compare_second_card

__all__ = ["Check", "Work", "done", "gpu_tests", "run_checks"]

Work = Callable[[str], Iterator[CheckOutcome]]
"""Does a check on a device; importable by name in a new process."""

_TESTS = Path(__file__).parents[2] / "tests"
_MARK = "mark.gpu"
_LAST_SECONDS = 5.0
"""A process that has nothing more to send ends within so long."""


class Check(NamedTuple):
    """Something to do in a process of its own."""

    names: tuple[str, ...]
    """Of the outcomes that it yields."""
    limit: float
    """Seconds."""
    work: Work


def run_checks(path: Path, limit: float, tell: Callable[[CheckOutcome], None]) -> list[CheckOutcome]:
    """Do all checks that this machine can do, and return what they found.

    Args:
        path: the report, replaced after each check.
        limit: seconds for all of them together.
        tell: called with each outcome.

    Raises:
        UserError: the report cannot be written.
    """
    cards = torch.cuda.device_count()
    device = "cuda:0" if cards else "cpu"
    outcomes: list[CheckOutcome] = []
    for outcome in _outcomes(cards, device, monotonic() + limit):
        outcomes.append(outcome)
        write_report(path, outcomes, device)
        tell(outcome)
    return outcomes


def _outcomes(cards: int, device: str, end: float) -> Iterator[CheckOutcome]:
    # planning takes a core and no GPU, so that it goes on beside the checks
    plans = {suite: _planning(suite) for suite in MODELS} if cards else {}
    for suite in POCKET_SUITES:
        yield from done(Check((f"pocket {suite}",), 180, partial(compare_pocket, suite)), device, end)
    yield gpu_tests(end) if cards else _skipped("tests", "there is no GPU")
    if cards > 1:
        yield from done(Check(("second card",), 60, compare_second_card), device, end)
    else:
        yield _skipped("second card", f"there is {'one' if cards else 'no'} GPU")
    for suite in MODELS:
        yield from _measured(suite, plans.get(suite), device, end)


def _planning(suite: str) -> Connection:
    """Return where the plan of ``suite`` will come from; who makes it ends with this process."""
    memory = int(torch.cuda.get_device_properties(0).total_memory)
    return _started(_plan, suite, memory)[1]


def _plan(suite: str, memory: int, sender: Connection) -> None:
    with closing(sender):
        sender.send(plan_model(suite, memory))


def _measured(suite: str, plan: Connection | None, device: str, end: float) -> Iterator[CheckOutcome]:
    names = outcome_names(suite)
    if plan is None:
        yield from (_skipped(name, "there is no GPU") for name in names)
    elif not plan.poll(max(0.0, end - monotonic())):
        yield from (_skipped(name, "planning took all the time that was left") for name in names)
    else:
        try:
            planned: list[PlannedModel] = plan.recv()
        except EOFError:
            why = "planning failed; what it said is above"
            yield from (CheckOutcome(name=name, verdict="failed", why=why) for name in names)
            return
        yield from done(Check(names, 120, partial(measure_model, planned)), device, end)


def done(check: Check, device: str, end: float) -> Iterator[CheckOutcome]:
    """Yield the outcomes of ``check``, done in a new process; those that do not come have failed.

    Args:
        check: what to do.
        device: where.
        end: when all checks must be done, by ``monotonic``.
    """
    left = end - monotonic()
    if left <= 0:
        yield from (_skipped(name, "no time was left") for name in check.names)
        return
    process, receiver = _started(_work, check.work, device)
    missing, why = list(check.names), ""
    with closing(receiver):
        until = monotonic() + min(check.limit, left)
        for outcome in _received(receiver, until):
            missing.remove(outcome.name)
            yield outcome
        if missing and monotonic() >= until:
            why = f"took longer than {check.limit:.0f} s"
        else:
            process.join(_LAST_SECONDS)
    process.kill()
    process.join()
    if why and left < check.limit:
        yield from (_skipped(name, "the time for all checks ended before it did") for name in missing)
        return
    why = why or f"its process ended with code {process.exitcode}; what it said is above"
    yield from (CheckOutcome(name=name, verdict="failed", why=why) for name in missing)


def _started(target: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Connection]:
    """Return a new process that calls ``target`` with ``arguments`` and where to send, and what it sends."""
    context = get_context("spawn")  # a GPU must not have been asked for anything before a fork
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(*arguments, sender), daemon=True)
    process.start()
    sender.close()
    return process, receiver


def _received(receiver: Connection, until: float) -> Iterator[CheckOutcome]:
    """Yield what arrives, until the sender is gone or time is up."""
    while receiver.poll(max(0.0, until - monotonic())):
        try:
            yield CheckOutcome.model_validate_json(receiver.recv())
        except EOFError:
            return


def _work(work: Work, device: str, sender: Connection) -> None:
    """Do a check and send its outcomes; what fails otherwise than it should is told by the process itself."""
    with closing(sender):
        for outcome in work(device):
            sender.send(outcome.model_dump_json())


def gpu_tests(end: float, limit: float = 180) -> CheckOutcome:
    """Return how the tests marked ``gpu`` did; skipped where there is no checkout or no pytest."""
    if not _TESTS.is_dir() or importlib.util.find_spec("pytest") is None:
        return _skipped("tests", "there is no checkout with tests, or no pytest")
    marked = [str(path) for path in sorted(_TESTS.rglob("test_*.py")) if _MARK in path.read_text("utf-8")]
    started, left = perf_counter(), min(limit, end - monotonic())
    if left <= 0:
        return _skipped("tests", "no time was left")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *marked]
    try:
        ran = subprocess.run(  # noqa: S603 - our own tests
            command, cwd=_TESTS.parent, capture_output=True, text=True, timeout=left, check=False
        )
    except subprocess.TimeoutExpired:
        return CheckOutcome(name="tests", verdict="failed", why=f"took longer than {left:.0f} s")
    return CheckOutcome(
        name="tests",
        verdict="passed" if ran.returncode == 0 else "failed",
        seconds=perf_counter() - started,
        why=_last_line(ran.stdout.splitlines()),
    )


def _last_line(lines: Sequence[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "")


def _skipped(name: str, why: str) -> CheckOutcome:
    return CheckOutcome(name=name, verdict="skipped", why=why)
