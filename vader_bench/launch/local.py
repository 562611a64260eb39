"""Where runs execute: worker processes on this machine, one run at a time each.

A run that fails, or a worker that dies, takes no other run with it. What was running when the command
was interrupted resumes from its last checkpoint when the command is given again.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from time import monotonic

from vader_bench.config.schema import RunConfig
from vader_bench.errors import UserError
from vader_bench.experiment.job import Job
from vader_bench.launch.display import Display, Failure
from vader_bench.launch.environment import (
    device_in_worker,
    take_surroundings,
    worker_environment,
    worker_surroundings,
)
from vader_bench.launch.orphans import die_with_parent
from vader_bench.launch.start import start, start_context
from vader_bench.launch.timetable import Timetable
from vader_bench.records.cores import usable_cores
from vader_bench.records.folder import LOG_NAME
from vader_bench.training.progress import Progress

__all__ = ["Execute", "launch", "redirect_output", "worker_devices"]

_POLL_SECONDS = 0.5
_STOP_SECONDS = 5.0


@dataclass(frozen=True)
class _Finished:
    """A worker's last word on a run that went well."""


Execute = Callable[[RunConfig, Path, str, Callable[[Progress], None]], object]
"""``execute(config, folder, device, report)`` does a whole run; importable by name in a new process."""


def worker_devices(workers: int | None = None, devices: int = 1) -> list[str]:
    """Return the device of each worker: GPUs where there are any, else CPU cores.

    Args:
        workers: how many workers, if the user says so; by default as many as there are devices for.
        devices: how many GPUs, or cores, a worker has.

    Raises:
        UserError: there are fewer GPUs than a worker is to have.
    """
    import torch  # asks for the GPUs only when runs are about to start

    gpus = torch.cuda.device_count()
    if not gpus:
        return ["cpu"] * (workers or max(1, usable_cores() // devices))
    if devices > gpus:
        raise UserError(f"--devices {devices}", f"are more than the {gpus} GPUs here", f"give {gpus} at most")
    groups = [",".join(map(str, range(i, i + devices))) for i in range(0, gpus - devices + 1, devices)]
    return [f"cuda:{groups[i % len(groups)]}" for i in range(workers or len(groups))]


def launch(
    jobs: list[Job],
    devices: list[str],
    display: Display,
    execute: Execute,
    watch: Callable[[Path], None] = lambda _: None,
) -> list[Failure]:
    """Execute ``jobs`` on one worker process a device and return the failures, in order of occurrence.

    Args:
        jobs: the runs; their order decides only among runs of equal length.
        devices: see ``worker_devices``; no more are used than there are jobs.
        display: called at every event.
        execute: does one run, in the worker.
        watch: called in this process with the folder of a run every now and then and when it ends.

    Raises:
        KeyboardInterrupt: the user interrupts; all workers are stopped first.
    """
    crew = _Crew(jobs, devices[: len(jobs)], display, execute, watch)
    try:
        while crew.busy:
            crew.turn()
    finally:
        crew.stop()
    return crew.failures


class _Worker:
    """A process that executes one job after the other; what it prints goes to ``log.txt`` of the run."""

    def __init__(
        self, context: ForkServerContext | SpawnContext, execute: Execute, device: str, workers: int
    ) -> None:
        self.device = device
        self.job: Job | None = None
        self.since = 0.0
        self.fraction = 0.0
        self.connection, theirs = context.Pipe()
        surroundings = worker_environment(os.environ, device, workers)
        given = (theirs, execute, device_in_worker(device), surroundings)
        # no daemon: those may not start the processes of a run on several devices
        self.process = context.Process(target=_work, args=given)
        start(self.process, _as_a_worker(device, workers))
        theirs.close()  # so that a worker's death is an end of file here

    def give(self, job: Job) -> None:
        self.job, self.since, self.fraction = job, monotonic(), 0.0
        with suppress(BrokenPipeError):  # it has died; its end of file is heard next
            self.connection.send(job)

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(_STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


@dataclass
class _Crew:
    """The workers, the jobs that wait, and what came of the others."""

    waiting: list[Job]
    devices: list[str]
    display: Display
    execute: Execute
    watch: Callable[[Path], None]
    failures: list[Failure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waiting = list(self.waiting)
        self._total = len(self.waiting)
        self._done = 0
        self._times = Timetable()
        self._context = start_context(self.devices)
        self._workers: list[_Worker] = []

    @property
    def busy(self) -> bool:
        return self._done < self._total

    def turn(self) -> None:
        """Hand out work, then wait a moment for news and pass it on."""
        self._hand_out()
        for connection in wait([w.connection for w in self._workers], _POLL_SECONDS):
            worker = next(w for w in self._workers if w.connection is connection)
            self._hear(worker)
        for worker in self._workers:
            if worker.job is not None:
                self.watch(worker.job.folder)
        self.display.overall(self._done, self._total, self._seconds_left())

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()

    def _hand_out(self) -> None:
        if self.waiting:
            free = Counter(self.devices) - Counter(worker.device for worker in self._workers)
            workers = len(self.devices)
            self._workers += [
                _Worker(self._context, self.execute, device, workers) for device in free.elements()
            ]
        for worker in self._workers:
            if worker.job is None and self.waiting:
                job = self.waiting.pop(self._times.pick([job.kind for job in self.waiting]))
                worker.give(job)
                self.display.started(job.name)

    def _hear(self, worker: _Worker) -> None:
        try:
            message = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            self._bury(worker)
            return
        assert worker.job is not None
        name = worker.job.name
        if isinstance(message, Progress):
            worker.fraction = message.done / message.total
            self.display.progressed(name, message)
        elif isinstance(message, _Finished):
            seconds = monotonic() - worker.since
            self._times.record(worker.job.kind, seconds)
            self.display.finished(name, seconds)
            self._close(worker)
        else:
            self._fail(worker, replace(message, name=name))

    def _bury(self, worker: _Worker) -> None:
        """A worker has died; its run fails and another worker takes its place."""
        worker.process.join()
        self._workers.remove(worker)
        if worker.job is not None:
            log = worker.job.folder / LOG_NAME
            wrong = f"stopped with exit code {worker.process.exitcode}; see {log}"
            self._fail(worker, Failure(worker.job.name, wrong))

    def _fail(self, worker: _Worker, failure: Failure) -> None:
        self.failures.append(failure)
        self.display.failed(failure)
        self._close(worker)

    def _close(self, worker: _Worker) -> None:
        assert worker.job is not None
        self.watch(worker.job.folder)
        worker.job = None
        self._done += 1

    def _seconds_left(self) -> float | None:
        now = monotonic()
        running = [(w.job.kind, now - w.since, w.fraction) for w in self._workers if w.job is not None]
        return self._times.seconds_left(running, [job.kind for job in self.waiting], len(self.devices))


def _work(connection: Connection, execute: Execute, device: str, surroundings: dict[str, str]) -> None:
    """Execute the jobs that come in, until the parent hangs up or dies.

    Any other error than a ``UserError`` ends the process, with its traceback in the run's ``log.txt``.
    """
    # what it was forked from may not hold them
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    die_with_parent()
    take_surroundings(surroundings)
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        except UserError as error:  # the file of the user's that has its method was changed or deleted
            connection.send(Failure("", str(error), error.exit_code))
            continue
        try:
            redirect_output(job.folder / LOG_NAME)
            execute(job.config, job.folder, device, connection.send)
        except UserError as error:
            connection.send(Failure(job.name, str(error), error.exit_code))
        else:
            connection.send(_Finished())


def redirect_output(path: Path) -> None:
    """Append what this process prints from now on to ``path``, below Python too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


@contextmanager
def _as_a_worker(device: str, workers: int) -> Iterator[None]:
    """Start workers: with their environment, and deaf to Ctrl-C, since the parent decides what they do."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with worker_surroundings(device, workers):
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
