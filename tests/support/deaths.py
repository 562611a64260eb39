"""Runs in processes of their own that are killed at a given moment, and what must be left of them.

A moment is a place that a run passes: a call of the model, of the optimiser, a write to the disk. They are
counted by phase, so that a random number names a moment, the same one each time.
"""

from __future__ import annotations

import math
import os
import signal
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from tests.support.commands import FEW_DOTS, FEW_RESAMPLES
from vader_bench.budget import metering
from vader_bench.config.schema import RunConfig
from vader_bench.methods import METHODS, Method
from vader_bench.records.folder import RunFolder, read_metrics
from vader_bench.records.locks import LOCK_NAME
from vader_bench.records.record_file import read_record
from vader_bench.training import session

__all__ = [
    "PHASES", "Counted", "Death", "contents", "count_moments", "die_in", "own_files", "report", "train",
]  # fmt: skip

PHASES: Final = ("start", "sampling", "update", "checkpoint", "record")
"""Of a run. What neither belongs to the start nor to a checkpoint is written for the record."""
Counted = dict[str, dict[Hashable, tuple[int, int]]]


class Death(NamedTuple):
    """The moment of a kill."""

    phase: str
    number: int
    """Moments of the phase that pass before it."""


class _Moments:
    """Counts the moments of this process, and ends it at one of them."""

    def __init__(self, death: Death | None) -> None:
        self._death = death
        self._phases = ["record"]
        self.passed: Counter[str] = Counter()

    @property
    def phase(self) -> str:
        return self._phases[-1]

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Let what is written meanwhile belong to ``phase``."""
        self._phases.append(phase)
        try:
            yield
        finally:
            self._phases.pop()

    def pass_one(self, phase: str, last: Callable[[], object] = lambda: None) -> None:
        """Pass a moment of ``phase``, or do the ``last`` that this process does."""
        if self._death == (phase, self.passed[phase]):
            last()
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed[phase] += 1


def train(
    config: RunConfig,
    folder: Path,
    counted: Counted,
    fault: Callable[[], object] = lambda: None,
    *,
    every_step: bool = True,
) -> None:
    """Do a run, with a checkpoint after ``every_step``.

    Args:
        config: the run.
        folder: its folder.
        counted: FLOPs that were counted before; counting takes a third of a run.
        fault: called first.
        every_step: else checkpoints come as often as they do for users.
    """
    metering._COUNTED.update(counted)
    if every_step:
        session.SAVING_SHARE = math.inf
    fault()
    session.execute(config, folder)


def die_in(method: str, death: Death | None) -> Counter[str]:
    """Kill this process at the moment ``death`` of a run of ``method``, and count the moments until then."""
    moments = _Moments(death)
    _watch_disk(moments)
    owner: Any
    for owner, name in (
        (RunFolder, "open"),
        (RunFolder, "begin"),
        (RunFolder, "resume"),
        (session, "load_components"),
        (session, "make_origin"),
        (session, "make_method"),
    ):
        _in_phase(moments, owner, name, "start")
    for owner, name in ((RunFolder, "save_checkpoint"), (session._KeptLoop, "_save")):
        _in_phase(moments, owner, name, "checkpoint")
    kind = METHODS.get(method)
    _within(moments, kind, "step", "step")
    for owner, name in (
        (metering.MeteredBackbone, "denoise"),
        (metering.MeteredBackbone, "decode"),
        (metering.MeteredReward, "judge"),
    ):
        _passes(moments, owner, name, "sampling")
    for owner, name in (
        (torch.Tensor, "backward"),
        (torch.nn.utils, "clip_grad_norm_"),
        (torch.optim.AdamW, "step"),
        (Method, "finite"),
    ):
        _passes(moments, owner, name, "update")
    return moments.passed


def count_moments(config: RunConfig, folder: Path, counted: Counted) -> Counter[str]:
    """Do a run and return how many moments each of its phases has."""
    passed = die_in(config.method, None)
    train(config, folder, counted)
    return Counter(passed)


def report(folder: Path, death: Death | None) -> Counter[str]:
    """Write the report of the experiment in ``folder``, and die at a moment of it; return those passed."""
    from vader_bench.report import build_report, style
    from vader_bench.stats import bootstrap

    bootstrap.RESAMPLES, style.DPI = FEW_RESAMPLES, FEW_DOTS
    moments = _Moments(death)
    with moments.during("report"):
        _watch_disk(moments)
        build_report(folder, None, command="vader-bench report")
    return Counter(moments.passed)


def _watch_disk(moments: _Moments) -> None:
    """Pass a moment before each change of the disk; what is killed in a write has written half of it."""
    write = os.write

    def writing(handle: int, data: bytes) -> int:
        moments.pass_one(moments.phase, lambda: write(handle, data[: len(data) // 2]))
        return write(handle, data)

    os.write = writing  # type: ignore[assignment]
    for name in ("fsync", "link", "mkdir", "replace", "unlink"):
        changed = getattr(os, name)

        def change(*given: Any, changed: Callable[..., Any] = changed, **named: Any) -> Any:
            moments.pass_one(moments.phase)
            return changed(*given, **named)

        setattr(os, name, change)
    make = os.open

    def making(path: Any, flags: int, *given: Any, **named: Any) -> int:
        handle = make(path, flags, *given, **named)
        if flags & os.O_CREAT:  # afterwards: there is an empty file
            moments.pass_one(moments.phase)
        return handle

    os.open = making


def _in_phase(moments: _Moments, owner: Any, name: str, phase: str) -> None:
    """Let ``owner.name`` be a moment of ``phase``, and what it writes belong to it."""
    _passes(moments, owner, name, phase)
    _within(moments, owner, name, phase)


def _within(moments: _Moments, owner: Any, name: str, phase: str) -> None:
    call = getattr(owner, name)

    def inside(*given: Any, **named: Any) -> Any:
        with moments.during(phase):
            return call(*given, **named)

    setattr(owner, name, inside)


def _passes(moments: _Moments, owner: Any, name: str, phase: str) -> None:
    call = getattr(owner, name)

    def passing(*given: Any, **named: Any) -> Any:
        moments.pass_one(phase)
        return call(*given, **named)

    setattr(owner, name, passing)


def own_files(folder: Path) -> list[str]:
    """Return the files of a run's folder, and beside it what runs share of looks at the base model."""
    shared = folder.parent / ".base-model"
    return sorted(
        path.relative_to(folder.parent if shared in path.parents else folder).as_posix()
        for place in (folder, shared)
        for path in place.rglob("*")
        if path.is_file()
    )


def contents(folder: Path) -> dict[str, Any]:
    """Return all that a finished run has left, without measured times.

    The record and the metrics are read; every other file stands for itself, byte by byte.
    """
    record = read_record(folder / "record.json").model_dump(mode="json")
    del record["ledger"]["device_seconds"]
    del record["git"]  # a commit may come in between
    for look in record["evaluations"]:
        del look["device_seconds"]
    training = RunFolder(folder).load_training().model_dump(mode="json")
    del training["metrics_sha256"], training["metrics_bytes"]
    for point in training["points"]:
        del point["ledger"]["device_seconds"]
    metrics = [line | {"device_seconds": None} for line in read_metrics(folder / "metrics.jsonl")]
    read = {"record.json": record, "training.json": training, "metrics.jsonl": metrics}
    skipped = {LOCK_NAME, "origin.json", "config.json"}
    others = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in skipped | read.keys()
    }
    return read | others
