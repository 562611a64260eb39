"""What ``run`` and ``tune`` share: executing jobs with a display, tracking, and a word on failures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from vader_bench.errors import ExitCode, UserError
from vader_bench.experiment.job import Job
from vader_bench.launch.display import Failure, make_display
from vader_bench.launch.local import launch, worker_devices
from vader_bench.records.folder import RunFolder
from vader_bench.records.tracking import Tracker
from vader_bench.training.session import execute

__all__ = ["failed", "work"]

_INTERRUPTED_SECONDS = 2.0
"""Who has pressed Ctrl-C waits no longer for a store that does not answer."""


def work(jobs: Sequence[Job], folder: Path, workers: int | None, tracking: str | None) -> Tracker:
    """Execute ``jobs`` in worker processes and return the tracker that follows them, to be finished.

    Args:
        jobs: the runs; those that are finished already are left alone, and take no time of a worker.
        folder: folder of the experiment, ``<results>/<experiment>/<suite>``.
        workers: runs at a time.
        tracking: address of the MLflow store.

    Raises:
        UserError: runs failed; all others are done.
    """
    left = [job for job in jobs if not RunFolder(job.folder).finished]
    console = Console(stderr=True)
    with make_display(console) as display:
        tracker = Tracker(folder, tracking, display.note)
        if len(left) < len(jobs):
            display.note(f"{len(jobs) - len(left)} of {len(jobs)} runs are finished already")
        try:
            failures = launch(left, worker_devices(workers), display, execute, tracker.watch) if left else []
        except KeyboardInterrupt:
            _end(tracker, jobs, [])
            tracker.finish(patience=_INTERRUPTED_SECONDS)
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
        "what is done is kept: mend the cause and give the same command again",
        exit_code=codes.pop() if len(codes) == 1 else ExitCode.RUN_FAILED,
    )
