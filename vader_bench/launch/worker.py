"""A process that executes one run after the other."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.experiment.job import Job
from vader_bench.launch.display import Failure
from vader_bench.launch.environment import (
    device_in_worker,
    take_surroundings,
    worker_environment,
    worker_surroundings,
)
from vader_bench.launch.executor import Execute, Finished, News, Taken
from vader_bench.launch.orphans import die_with_parent
from vader_bench.launch.start import start
from vader_bench.records.folder import LOG_NAME
from vader_bench.records.locks import FolderInUseError

__all__ = ["Worker", "redirect_output"]

_STOP_SECONDS = 5.0


class Worker:
    """A process that executes one job after the other; what it prints goes to ``log.txt`` of the run.

    Args:
        context: how it starts.
        execute: does one run, there.
        device: ``"cpu"``, or ``"cuda:<n>"``: the n-th card that this process sees, or ``"cuda:<n>,<m>"``.
        workers: how many work at a time; they share the cores.

    Raises:
        UserError: it cannot be started.
    """

    def __init__(
        self, context: ForkServerContext | SpawnContext, execute: Execute, device: str, workers: int
    ) -> None:
        self.device = device
        self.job: Job | None = None
        """What it executes."""
        self.connection, theirs = context.Pipe()
        surroundings = worker_environment(os.environ, device, workers)
        given = (theirs, execute, device_in_worker(device), surroundings)
        # no daemon: those may not start the processes of a run on several devices
        self.process = context.Process(target=_work, args=given)
        start(self.process, _as_a_worker(device, workers))
        theirs.close()  # so that a worker's death is an end of file here

    def give(self, job: Job) -> None:
        """Let it execute ``job``."""
        self.job = job
        with suppress(BrokenPipeError):  # it has died; its end of file is heard next
            self.connection.send(job)

    def hear(self) -> News | None:
        """Return the next that it says of its job; ``None`` where it has died."""
        try:
            news: News = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            return None
        return news

    def death(self, folder: Path) -> str:
        """Return how it died, and where in the ``folder`` of its run more of that is written."""
        return f"stopped with exit code {self.process.exitcode}; see {folder / LOG_NAME}"

    def stop(self) -> None:
        """End it, whatever it does; what it was writing is deleted."""
        self.process.terminate()
        self.process.join(_STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        if self.job is not None:
            files.remove_temporaries(self.job.folder)
        self.connection.close()


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
        except FolderInUseError:
            connection.send(Taken())
        except UserError as error:
            connection.send(Failure(job.name, str(error), error.exit_code))
        else:
            connection.send(Finished())


def redirect_output(path: Path) -> None:
    """Append what this process prints from now on to ``path``, below Python too.

    Raises:
        UserError: the disk refuses.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    handle = files.open_to_append(path)
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
