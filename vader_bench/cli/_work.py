"""What ``run`` and ``tune`` share: executing jobs with a display, tracking, and a word on failures."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from vader_bench import files
from vader_bench.config.names import ADAPTER, BASE
from vader_bench.errors import ExitCode, UserError
from vader_bench.experiment.job import Job
from vader_bench.launch.display import Failure, make_display
from vader_bench.launch.local import Execute, launch, worker_devices
from vader_bench.launch.together import execute_together
from vader_bench.records.folder import RunFolder
from vader_bench.records.inputs import runs_by_other_inputs
from vader_bench.records.tracking import Tracker
from vader_bench.training.identity import input_digests
from vader_bench.training.reuse import find_trainings, forget_taken, take_training
from vader_bench.training.session import execute

__all__ = ["command_line", "counted", "failed", "work"]

_FINISHED, _TRAINED_ALREADY, _TRAINED = "finished already", "trained already", "trained"
_WORDS = {BASE: "of the base model", ADAPTER: "of adapters from files"}
"""By what is not trained."""

_INTERRUPTED_SECONDS = 3.0
"""Who has pressed Ctrl-C waits no longer for a store."""


def work(
    jobs: Sequence[Job],
    folder: Path,
    workers: int | None,
    tracking: str | None,
    *,
    devices: int = 1,
    fresh: bool = False,
    command: str = "",
) -> Tracker:
    """Execute ``jobs`` in worker processes and return the tracker that follows them, to be finished.

    A run whose training another experiment beside ``folder`` has done takes it, and is measured alone.

    Args:
        jobs: the runs; those that are finished already are left alone, and take no time of a worker.
        folder: folder of the experiment, ``<results>/<experiment>/<suite>``.
        workers: runs at a time.
        tracking: address of the MLflow store.
        devices: how many train a run together.
        fresh: train every run here, whoever has trained it.
        command: what the user called, for the records.

    Raises:
        UserError: runs failed, and all others are done; or another process executes runs there; or runs that
            are finished were made with other weights or prompts than those to come would be.
    """
    console, owned = Console(stderr=True), worker_devices(workers, devices)
    do: Execute = partial(execute, command=command)
    if devices > 1:
        do = partial(execute_together, devices=devices, command=command)
    with files.alone(folder), make_display(console) as display:
        tracker = Tracker(folder, tracking, display.note)
        trained = {} if fresh else find_trainings(folder.parent.parent, display.note)
        first = owned[0].partition(",")[0]  # of several cards
        display.note(counted([_prepared(job, fresh, (first, devices), trained) for job in jobs]))
        left = [job for job in jobs if not RunFolder(job.folder).finished]
        if left:
            _require_same_inputs([job for job in jobs if RunFolder(job.folder).finished], folder)
        try:
            failures = launch(left, owned, display, do, tracker.watch) if left else []
        except KeyboardInterrupt:
            _end(tracker, jobs, [])
            tracker.finish(at_most=_INTERRUPTED_SECONDS)
            raise
        _end(tracker, jobs, failures)
    if failures:
        tracker.finish()
        raise failed(failures, len(jobs))
    return tracker


def _end(tracker: Tracker, jobs: Sequence[Job], failures: Sequence[Failure]) -> None:
    names = {failure.name for failure in failures}
    for job in jobs:
        (tracker.failed if job.name in names else tracker.ended)(job.folder)


def _prepared(job: Job, fresh: bool, on: tuple[str, int], trained: Mapping[str, Sequence[RunFolder]]) -> str:
    """Take the training of a run from elsewhere, if it is there, and return the word for where it is from.

    ``on`` is the device that would train it, and how many of them.
    """
    if fresh:
        forget_taken(job.config, job.folder)
    if RunFolder(job.folder).finished:
        return _FINISHED
    if job.config.method in _WORDS:
        return _WORDS[job.config.method]
    held = RunFolder(job.folder)
    if held.trained and not held.load_training().taken_from:
        return _TRAINED_ALREADY  # it was interrupted while it was measured
    device, devices = on
    taken_from = take_training(job.config, job.folder, device, trained, devices)
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
    fixed = (_FINISHED, _TRAINED_ALREADY, *_WORDS.values())
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
