"""What ``run`` and ``tune`` share: executing jobs with a display, tracking, and a word on failures."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from rich.console import Console

from vader_bench.cli._options import ExecutorName
from vader_bench.config.names import ADAPTER, BASE
from vader_bench.errors import ExitCode, UserError
from vader_bench.experiment.job import Job
from vader_bench.launch.crew import launch
from vader_bench.launch.display import Failure, make_display
from vader_bench.launch.executor import Execute, Executor
from vader_bench.launch.local import LocalExecutor, worker_devices
from vader_bench.launch.storage import Storage
from vader_bench.launch.together import execute_together
from vader_bench.records.folder import RunFolder
from vader_bench.records.inputs import runs_by_other_inputs
from vader_bench.records.locks import FolderInUseError
from vader_bench.records.tracking import Tracker
from vader_bench.training.identity import input_digests
from vader_bench.training.reuse import find_trainings, forget_taken, take_training
from vader_bench.training.session import execute

__all__ = ["Where", "chosen", "command_line", "counted", "failed", "unfinished", "whereabouts", "work"]

_FINISHED, _TRAINED_ALREADY, _TRAINED = "finished already", "trained already", "trained"
_ELSEWHERE = "with another launcher"
_WORDS = {BASE: "of the base model", ADAPTER: "of adapters from files"}
"""By what is not trained."""

_INTERRUPTED_SECONDS = 3.0
"""Who has pressed Ctrl-C waits no longer for a store."""


@dataclass(frozen=True)
class Where:
    """Where runs are executed."""

    executor_name: ExecutorName = ExecutorName.LOCAL
    workers: int | None = None
    """Runs at a time."""
    storage: str | None = None
    """What runs pass through where machines of a cluster do not see the folder of results."""
    devices: int = 1
    """How many train a run together."""

    def __post_init__(self) -> None:
        if self.storage is not None and self.executor_name is ExecutorName.LOCAL:
            raise UserError("--storage", "is for --executor ray", "leave it out, or add that")
        if self.devices > 1 and self.executor_name is not ExecutorName.LOCAL:
            wrong = "is for runs on this machine, not for --executor ray"
            raise UserError(f"--devices {self.devices}", wrong, "leave out one of the two")

    def execute(self, command: str) -> Execute:
        """Return what does one run; ``command`` is what was called, for the record."""
        if self.devices > 1:
            return partial(execute_together, devices=self.devices, command=command)
        return partial(execute, command=command)

    def executor(
        self, jobs: Sequence[Job], results: Path, do: Execute, note: Callable[[str], None]
    ) -> Executor:
        """Return what executes ``jobs``.

        Raises:
            UserError: see ``RayExecutor`` and ``Storage``.
        """
        if self.executor_name is ExecutorName.LOCAL:
            return LocalExecutor(worker_devices(self.workers, self.devices)[: len(jobs)], do)
        from vader_bench.launch.ray import RayExecutor

        storage = None if self.storage is None else Storage(self.storage, results)
        return RayExecutor(do, jobs, self.workers, storage, note)


def work(
    jobs: Sequence[Job],
    folder: Path,
    where: Where,
    tracking: str | None,
    *,
    beside: Sequence[Job] = (),
    fresh: bool = False,
    command: str = "",
) -> Tracker:
    """Execute ``jobs`` and return the tracker that follows them, to be finished.

    A run whose training another experiment beside ``folder`` has done takes it, and only measures. Runs
    that another launcher executes are left to it: see ``unfinished``.

    Args:
        jobs: the runs; those that are finished already are left alone, and take no time of a worker.
        folder: folder of the experiment, ``<results>/<experiment>/<suite>``.
        where: on what they are executed.
        tracking: address of the MLflow store.
        beside: other runs of the experiment: those that are finished will share a table with ``jobs``.
        fresh: train every run here, whoever has trained it.
        command: what the user called, for the records.

    Raises:
        UserError: runs failed, and all others are done; or runs that are finished were made with other
            weights or prompts than those to come would be.
    """
    console, results = Console(stderr=True), folder.parent.parent
    with make_display(console) as display:
        tracker = Tracker(folder, tracking, display.note)
        if fresh:
            _forget_taken(jobs)
        left = unfinished(jobs)
        failures: list[Failure] = []
        try:
            if left:
                executor = where.executor(left, results, where.execute(command), display.note)
                trained = {} if fresh else _trainings(executor.device, results, display.note)
                on = executor.device, where.devices
                display.note(counted([_prepared(job, on, trained) for job in jobs]))
                finished = [job for job in (*jobs, *beside) if RunFolder(job.folder).finished]
                _require_same_inputs(finished, folder)
                failures = launch(left, executor, display, tracker.watch)
            else:
                display.note(counted([_FINISHED] * len(jobs)))
        except KeyboardInterrupt:
            _end(tracker, jobs, [])
            tracker.finish(at_most=_INTERRUPTED_SECONDS)
            raise
        _end(tracker, jobs, failures)
    if failures:
        tracker.finish()
        raise failed(failures, len(jobs))
    return tracker


def unfinished(jobs: Sequence[Job]) -> list[Job]:
    """Return the runs that have no record."""
    return [job for job in jobs if not RunFolder(job.folder).finished]


def whereabouts(missing: Sequence[Job], runs: int) -> Iterator[str]:
    """Yield lines with which of ``runs`` runs are missing for a report, and who has them."""
    yield f"no report yet: {len(missing)} of {runs} runs are missing"
    held = [job.name for job in missing if RunFolder(job.folder).in_use]
    free = [job.name for job in missing if job.name not in held]
    if held:
        yield f"  {_ELSEWHERE}: {', '.join(held)}"
    if free:
        yield f"  with no launcher: {', '.join(free)}"
    yield "whoever finishes the last run makes the report; once all are there, so does the same command"


def chosen(jobs: Sequence[Job], patterns: Sequence[str]) -> list[Job]:
    """Return the runs whose names match one of ``patterns``, as a shell matches names; all if there are none.

    Raises:
        UserError: no run matches a pattern.
    """
    for pattern in patterns:
        if not any(fnmatchcase(job.name, pattern) for job in jobs):
            names = ", ".join(job.name for job in jobs)
            raise UserError(f"--only {pattern!r}", "matches no run", f"the runs are {names}")
    return [job for job in jobs if not patterns or any(fnmatchcase(job.name, one) for one in patterns)]


def _trainings(device: str, results: Path, note: Callable[[str], None]) -> dict[str, list[RunFolder]]:
    """Return what other experiments have trained, where this machine can compare devices."""
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        note("no training of other experiments is taken: this machine has no GPU to compare theirs with")
        return {}
    return find_trainings(results, note)


def _forget_taken(jobs: Sequence[Job]) -> None:
    for job in jobs:
        with suppress(FolderInUseError):  # another launcher is at it, or has just finished it
            forget_taken(job.config, job.folder)


def _end(tracker: Tracker, jobs: Sequence[Job], failures: Sequence[Failure]) -> None:
    names = {failure.name for failure in failures}
    for job in jobs:
        (tracker.failed if job.name in names else tracker.ended)(job.folder)


def _prepared(job: Job, on: tuple[str, int], trained: Mapping[str, Sequence[RunFolder]]) -> str:
    """Take the training of a run from elsewhere, if it is there, and return the word for where it is from.

    ``on`` is the device that would train it, and how many of them.
    """
    held = RunFolder(job.folder)
    if held.finished:
        return _FINISHED
    if held.in_use:
        return _ELSEWHERE
    if job.config.method in _WORDS:
        return _WORDS[job.config.method]
    if held.trained and not held.load_training().taken_from:
        return _TRAINED_ALREADY  # it was interrupted while it was measured
    try:
        device, devices = on
        taken_from = take_training(job.config, job.folder, device, trained, devices)
    except FolderInUseError:
        return _ELSEWHERE
    return f"taken from {taken_from}" if taken_from else _TRAINED


def _require_same_inputs(finished: Sequence[Job], folder: Path) -> None:
    """Refuse to add to ``finished`` runs that could not share a table with them."""
    odd = runs_by_other_inputs(
        (RunFolder(job.folder).load_record(), input_digests(job.config)) for job in finished
    )
    if odd:
        told = " and ".join(
            f"{', '.join(names)} with other {', '.join(others)}" for others, names in odd.items()
        )
        wrong = f"holds finished runs that were made with other weights or prompts than are here now: {told}"
        remedy = "restore them, or delete the folders of these runs to run them again"
        raise UserError(str(folder), wrong, remedy)


def counted(words: Sequence[str]) -> str:
    """Return a line with where all trainings come from: ``3 runs: 2 taken from fig7, 1 trained``."""
    counts = Counter(words)
    fixed = (_FINISHED, _ELSEWHERE, _TRAINED_ALREADY, *_WORDS.values())
    taken = sorted(word for word in counts if word not in {*fixed, _TRAINED})
    told = [f"{counts[word]} {word}" for word in (*fixed, *taken) if counts[word]]
    runs = f"{len(words)} {'run' if len(words) == 1 else 'runs'}"
    return f"{runs}: {', '.join([*told, f'{counts[_TRAINED]} {_TRAINED}'])}"


def command_line(verb: str, file: Path, options: Mapping[str, object]) -> str:
    """Return the command as it would be typed again; options that were not given are left out.

    The address of a tracking server is no option here: it may hold a password, and decides no number.
    """
    words = ["vader-bench", verb, str(file)]
    for name, value in options.items():
        if value is True:
            words.append(name)
        elif value is not None and value is not False:
            words += [name, str(value)]
    return shlex.join(words)


def failed(failures: Sequence[Failure], runs: int) -> UserError:
    """Return the error that names every run that failed; runs with one cause share a line."""
    causes: dict[str, list[str]] = {}
    for failure in failures:
        causes.setdefault(failure.message, []).append(failure.name)
    lines = [f"{', '.join(names)}: {message}" for message, names in causes.items()]
    codes = {failure.exit_code for failure in failures}
    return UserError(
        f"{len(failures)} of {runs} runs failed",
        lines[0] if len(lines) == 1 else "\n  " + "\n  ".join(lines) + "\n",
        "what is done is kept: fix the problem and give the same command again; where that changes a "
        "setting of the experiment, give it another name first, and it takes what is trained",
        exit_code=codes.pop() if len(codes) == 1 else ExitCode.RUN_FAILED,
    )
