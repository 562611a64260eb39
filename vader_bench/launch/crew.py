"""Many runs: which is next, what became of each, and what is shown meanwhile, whatever executes them.

A run that fails takes no other run with it. What was running when the command was interrupted resumes from
its last checkpoint when the command is given again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from vader_bench.experiment.job import Job
from vader_bench.launch.display import Display, Failure
from vader_bench.launch.executor import Executor, Finished, Lost, News, Taken
from vader_bench.launch.timetable import Pace, Timetable
from vader_bench.records.folder import RunFolder
from vader_bench.records.locks import in_use
from vader_bench.training.progress import Progress

__all__ = ["launch"]

_POLL_SECONDS = 0.5
_LOSSES = 3
"""So often a run is given to another worker."""
_HELD_SECONDS = 180.0
"""So long a lost run may stay locked: a server of NFS frees what a dead machine held after 90 s or so."""


def launch(
    jobs: Sequence[Job], executor: Executor, display: Display, watch: Callable[[Path], None] = lambda _: None
) -> list[Failure]:
    """Execute ``jobs`` and return the failures, in order of occurrence.

    Runs that another launcher has are left to it. They are taken over if it lets go of them while runs of
    this launcher are at work, and nothing waits for them.

    Args:
        jobs: the runs; their order decides only among runs of equal length.
        executor: what executes them; it is stopped at the end.
        display: called at every event.
        watch: called in this process with the folder of a run every now and then and when it ends.

    Raises:
        KeyboardInterrupt: the user interrupts; all workers are stopped first.
    """
    crew = _Crew(list(jobs), executor, display, watch)
    try:
        while crew.busy:
            crew.turn()
    finally:
        executor.stop()
    return crew.failures


@dataclass
class _AtWork:
    job: Job
    since: float
    pace: Pace = field(default_factory=Pace)

    @property
    def seconds(self) -> float:
        return monotonic() - self.since


@dataclass
class _Crew:
    """The runs that wait, those at work, and what came of the others."""

    waiting: list[Job]
    executor: Executor
    display: Display
    watch: Callable[[Path], None]
    failures: list[Failure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._total = len(self.waiting)
        self._done = 0
        self._times = Timetable()
        self._running: dict[str, _AtWork] = {}
        self._elsewhere: list[Job] = []
        self._losses: Counter[str] = Counter()
        self._lost_at: dict[str, float] = {}

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self._running) or any(map(self._lost_lately, self._elsewhere))

    def turn(self) -> None:
        """Hand out work, then wait a moment for news and pass it on."""
        self._hand_out()
        for job, news in self.executor.news(_POLL_SECONDS):
            self._hear(job, news)
        for work in self._running.values():
            self.watch(work.job.folder)
        self.display.overall(self._done, self._total, self._seconds_left())

    def _hand_out(self) -> None:
        free = self.executor.slots - len(self._running)
        if free > len(self.waiting):
            held = [job for job in self._elsewhere if in_use(job.folder)]
            self.waiting += [job for job in self._elsewhere if job not in held]
            self._elsewhere = held
        while free > 0 and self.waiting:
            job = self.waiting.pop(self._times.pick([job.kind for job in self.waiting]))
            if RunFolder(job.folder).finished:  # by another launcher
                self._done += 1
            elif in_use(job.folder):
                self._elsewhere.append(job)
            else:
                self._running[job.name] = _AtWork(job, monotonic())
                self.executor.submit(job)
                self.display.started(job.name)
                free -= 1

    def _hear(self, job: Job, news: News) -> None:
        work = self._running[job.name]
        if isinstance(news, Progress):
            work.pace.note(work.seconds, news.done / news.total)
            self.display.progressed(job.name, news)
            return
        self.watch(job.folder)
        del self._running[job.name]
        if isinstance(news, Finished):
            self._times.record(job.kind, work.seconds, work.pace)
            self._done += 1
            self.display.finished(job.name, work.seconds)
        elif isinstance(news, Failure):
            self._fail(news)
        elif isinstance(news, Lost):
            self._lose(job, news)
        else:
            assert isinstance(news, Taken)
            self.display.withdrawn(job.name)
            self._elsewhere.append(job)

    def _fail(self, failure: Failure) -> None:
        self.failures.append(failure)
        self._done += 1
        self.display.failed(failure)

    def _lose(self, job: Job, lost: Lost) -> None:
        self._losses[job.name] += 1
        if self._losses[job.name] > _LOSSES:
            self._fail(Failure(job.name, f"{lost.reason}, {self._losses[job.name]} times"))
            return
        self._lost_at[job.name] = monotonic()
        self.waiting.append(job)
        self.display.withdrawn(job.name)
        self.display.note(f"lost    {job.name}: {lost.reason}; it goes on from its last checkpoint")

    def _lost_lately(self, job: Job) -> bool:
        return monotonic() - self._lost_at.get(job.name, -_HELD_SECONDS) < _HELD_SECONDS

    def _seconds_left(self) -> float | None:
        running = [(work.job.kind, work.seconds, work.pace) for work in self._running.values()]
        waiting = [job.kind for job in self.waiting]
        return self._times.seconds_left(running, waiting, max(1, self.executor.slots))
