"""Executes runs in worker processes on this machine, one run at a time each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import wait

from vader_bench.errors import UserError
from vader_bench.experiment.job import Job
from vader_bench.launch.display import Failure
from vader_bench.launch.executor import Execute, News
from vader_bench.launch.start import start_context
from vader_bench.launch.worker import Worker
from vader_bench.records.cores import usable_cores
from vader_bench.training.progress import Progress

__all__ = ["LocalExecutor", "one_device", "worker_devices"]


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


def one_device(asked: str | None) -> str:
    """Return ``asked``, or else the first GPU, or the CPU where there is none.

    Raises:
        UserError: no such device is here.
    """
    import torch

    if asked in {None, "cpu"}:
        return asked or worker_devices(1)[0]
    card = re.fullmatch(r"cuda:([0-9]{1,4})", asked)
    if card is None:
        raise UserError(f"--device {asked}", "is no device", "give cpu, or cuda:0 for the first GPU")
    count = torch.cuda.device_count()
    if int(card[1]) >= count:
        there = f"cuda:0 to cuda:{count - 1}, or cpu" if count else "cpu: no GPU is seen here"
        raise UserError(f"--device {asked}", "is not on this machine", f"give {there}")
    return asked


class LocalExecutor:
    """Worker processes, one a device. One that has died is replaced, and its run fails.

    Args:
        devices: see ``worker_devices``; no worker is started before there is a run for it.
        execute: does one run, in the worker.
    """

    def __init__(self, devices: Sequence[str], execute: Execute) -> None:
        self._devices = list(devices)
        self._execute = execute
        self._context = start_context(self._devices)
        self._workers: list[Worker] = []

    @property
    def device(self) -> str:
        """Return the device of the first worker; it stands for all."""
        return self._devices[0].partition(",")[0]  # of several cards

    @property
    def slots(self) -> int:
        """Return the number of devices."""
        return len(self._devices)

    def submit(self, job: Job) -> None:
        """Give a run to a worker that has none."""
        free = next((worker for worker in self._workers if worker.job is None), None)
        if free is None:
            devices = Counter(self._devices) - Counter(worker.device for worker in self._workers)
            free = Worker(self._context, self._execute, next(devices.elements()), self.slots)
            self._workers.append(free)
        free.give(job)

    def news(self, seconds: float) -> list[tuple[Job, News]]:
        """Return what workers say, after waiting for up to ``seconds``."""
        speaking = wait([worker.connection for worker in self._workers], seconds)
        said = []
        for worker in [worker for worker in self._workers if worker.connection in speaking]:
            if worker.job is None:  # only its death can be heard
                self._workers.remove(worker)
            else:
                said.append((worker.job, self._hear(worker, worker.job)))
        return said

    def stop(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.stop()

    def _hear(self, worker: Worker, job: Job) -> News:
        news = worker.hear()
        if news is None:
            self._workers.remove(worker)
            return Failure(job.name, worker.death(job.folder))
        if not isinstance(news, Progress):
            worker.job = None
        return replace(news, name=job.name) if isinstance(news, Failure) else news
