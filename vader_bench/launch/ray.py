"""Executes runs on the machines of a Ray cluster, a task a run; needs the extra ``ray``.

A task starts the same worker process as on one machine, on a card or a core that Ray keeps for it.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from vader_bench.errors import ExitCode, UserError
from vader_bench.experiment.job import Job
from vader_bench.launch.display import Failure
from vader_bench.launch.executor import Execute, Finished, Lost, News, Taken
from vader_bench.launch.start import start_context
from vader_bench.launch.storage import RunCopy, Storage
from vader_bench.launch.worker import Worker
from vader_bench.records.folder import RunFolder
from vader_bench.records.locks import PROBED_SECONDS, FolderInUseError, FolderLock
from vader_bench.training.progress import Progress
from vader_bench.weights.hub import HUB_PREFIX

if TYPE_CHECKING:
    from ray import ObjectRefGenerator

__all__ = ["Needs", "RayExecutor", "needs_of"]

_SAY_SECONDS = 1.0
"""A task says so often how far its run is."""
_SEND_SECONDS = 5.0
"""A task looks so often whether there is a new checkpoint to send."""


class Needs(NamedTuple):
    """What Ray keeps free for one run."""

    gpus: int
    cpus: int


def needs_of(nodes: Sequence[Mapping[str, float]], released: bool) -> Needs:
    """Return what a run needs on a cluster: a GPU where there are any, as on one machine, else a core.

    Args:
        nodes: what each machine has, as Ray counts it.
        released: whether the suite has a released model: it waits for a GPU if none has joined yet.
    """
    shares = [int(node.get("CPU", 1)) // int(node["GPU"]) for node in nodes if node.get("GPU", 0) >= 1]
    if shares or released:
        return Needs(1, max(1, min(shares, default=1)))
    return Needs(0, 1)


class RayExecutor:
    """Tasks of the cluster that ``RAY_ADDRESS`` names, else of the one on this machine, else of a new one.

    Args:
        execute: does one run, in a worker.
        jobs: the runs to come.
        workers: runs at a time; by default as many as the cluster has room for.
        storage: what runs pass through where machines share no disk.
        note: called with lines that the user should read.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be joined.
    """

    def __init__(
        self,
        execute: Execute,
        jobs: Sequence[Job],
        workers: int | None,
        storage: Storage | None,
        note: Callable[[str], None],
    ) -> None:
        self._ray = _joined()
        self._execute = execute
        self._workers = workers
        self._storage = storage
        released = any(
            name.startswith(HUB_PREFIX)
            for job in jobs
            for name in job.config.suite.weights(job.config.reward)
        )
        self._needs = needs_of(self._nodes(), released)
        self._streams: dict[ObjectRefGenerator, Job] = {}
        self._held: dict[str, FolderLock] = {}
        self._said: list[tuple[Job, News]] = []
        gpus, cpus = self._needs
        each = f"{gpus} GPU and {cpus} {'core' if cpus == 1 else 'cores'}" if gpus else "1 core"
        note(f"Ray: {len(self._nodes())} machines, {each} a run, {self.slots} runs at a time")
        if gpus and not self._room:
            note("no machine of the cluster has a GPU yet, and the suite needs one: runs wait for it")

    @property
    def device(self) -> str:
        """Return where runs compute, as a worker names it."""
        return "cuda:0" if self._needs.gpus else "cpu"

    @property
    def slots(self) -> int:
        """Return how many runs there is room for, or the number that was asked for.

        It is never 0: a cluster that grows by itself does so when something waits.
        """
        return self._workers or max(1, self._room)

    def submit(self, job: Job) -> None:
        """Give a run to the cluster."""
        if self._storage is not None and (refused := self._packed(job, self._storage)):
            self._said.append((job, refused))
            return
        task = self._ray.remote(_attempt).options(
            name=job.name,
            num_gpus=self._needs.gpus,
            num_cpus=self._needs.cpus,
            num_returns="streaming",
            max_retries=0,  # the crew gives it out again, and says so
            scheduling_strategy="SPREAD",
        )
        absolute = replace(job, folder=job.folder.absolute())
        order = pickle.dumps((absolute, self._execute))  # Ray's own pickling copies classes of users' files
        self._streams[task.remote(order, self.device, str(Path.cwd()), self._storage)] = job

    def news(self, seconds: float) -> list[tuple[Job, News]]:
        """Return what tasks say, after waiting for up to ``seconds``."""
        said, self._said = self._said, []
        if not self._streams:
            time.sleep(0 if said else seconds)
            return said
        self._ray.wait(list(self._streams), num_returns=1, timeout=0 if said else seconds)
        ready, _ = self._ray.wait(list(self._streams), num_returns=len(self._streams), timeout=0)
        for stream in ready:
            job = self._streams[stream]
            news = self._next(stream)
            if not isinstance(news, Progress):
                del self._streams[stream]
                news = self._unpacked(
                    job, replace(news, name=job.name) if isinstance(news, Failure) else news
                )
            said.append((job, news))
        return said

    def stop(self) -> None:
        """Cancel all tasks, and leave the cluster."""
        for stream in self._streams:
            self._ray.cancel(stream, force=True)
        for lock in self._held.values():
            lock.release()
        self._ray.shutdown()

    @property
    def _room(self) -> int:
        kind, each = ("GPU", self._needs.gpus) if self._needs.gpus else ("CPU", self._needs.cpus)
        return sum(int(node.get(kind, 0)) // each for node in self._nodes())

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _next(self, stream: ObjectRefGenerator) -> News:
        from ray.exceptions import RayError, RayTaskError

        try:
            news: News = self._ray.get(next(stream))
        except RayTaskError as error:
            return Failure("", f"stopped by a defect ({str(error).strip().splitlines()[-1]})")
        except RayError as error:
            return Lost(f"its machine or worker has gone ({type(error).__name__})")
        return news

    def _packed(self, job: Job, storage: Storage) -> Taken | Failure | None:
        """Take the run here, and send what it took from another one, if it did; return what is in the way."""
        try:
            lock = FolderLock(job.folder, patience=PROBED_SECONDS)
        except FolderInUseError:
            return Taken()
        try:
            if RunFolder(job.folder).trained:
                storage.send(storage.copy(storage.place(job.folder), job.folder))
        except UserError as error:
            lock.release()
            return Failure(job.name, str(error), error.exit_code)
        self._held[job.name] = lock
        return None

    def _unpacked(self, job: Job, news: News) -> News:
        """Gather what has become of a run."""
        if self._storage is None:
            return news
        try:
            copy = self._storage.copy(self._storage.place(job.folder), job.folder)
            self._storage.gather(copy, finished=isinstance(news, Finished))
        except UserError as error:
            return Failure(job.name, str(error), error.exit_code)
        finally:
            self._held.pop(job.name).release()
        return news


def _joined() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        remedy = "pip install 'vader-bench[ray]'"
        raise UserError("executor ray", "is not installed", remedy, exit_code=ExitCode.MISSING) from error
    if not ray.is_initialized():
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError) as error:
            given = f"Ray cluster {os.environ.get('RAY_ADDRESS', 'of this machine')}"
            remedy = "start it with `ray start`, and name it in RAY_ADDRESS"
            raise UserError(given, f"cannot be joined ({str(error).splitlines()[0]})", remedy) from error
    module: ModuleType = ray
    return module


def _attempt(order: bytes, device: str, cwd: str, storage: Storage | None) -> Iterator[News]:
    """Execute a run in a worker process of the machine that this is called on, and pass on what it says."""
    try:
        job, execute = pickle.loads(order)  # noqa: S301 -- of this program
        with ExitStack() as stack:
            if Path(cwd).is_dir():
                stack.enter_context(chdir(cwd))
            at, copy = job, None
            if storage is not None:
                scratch = Path(stack.enter_context(TemporaryDirectory(prefix="vader-bench-")))
                at = replace(job, folder=scratch / storage.place(job.folder))
                copy = storage.copy(storage.place(job.folder), at.folder)
                storage.fetch(copy)
            worker = _worker(execute, device)
            stack.callback(worker.stop)
            worker.give(at)
            for news in _heard(worker, job, copy):
                if storage is not None and copy is not None and not isinstance(news, Progress):
                    storage.send(copy)
                yield news
    except UserError as error:
        yield Failure("", str(error), error.exit_code)


def _worker(execute: Execute, device: str) -> Worker:
    """Return a worker process; like this one it must not take Ray's script for the program it is part of."""
    vars(sys.modules["__main__"]).pop("__file__", None)
    return Worker(start_context([device]), execute, device, 1)


def _heard(worker: Worker, job: Job, copy: RunCopy | None) -> Iterator[News]:
    """Yield what a worker says of its run, and meanwhile send checkpoints on their way."""
    say_at = send_at = time.monotonic()
    while True:
        news = worker.hear() if (spoken := worker.connection.poll(_SEND_SECONDS)) else None
        now = time.monotonic()
        if spoken and not isinstance(news, Progress):
            yield _last(worker, job, news)
            return
        if copy is not None and now >= send_at and copy.stale:
            with suppress(OSError):  # a store that is away: the next time
                copy.send()
            send_at = time.monotonic() + _SEND_SECONDS
        if news is not None and now >= say_at:
            say_at = now + _SAY_SECONDS
            yield news


def _last(worker: Worker, job: Job, news: News | None) -> News:
    if news is not None:
        return news
    code = worker.process.exitcode
    if code is not None and code < 0:  # short of memory, or the end of an allocation: no fault of the run
        return Lost(f"its worker was ended by signal {-code}")
    return Failure(job.name, worker.death(job.folder))
