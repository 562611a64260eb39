"""What executes runs, and what it says of them: worker processes on this machine, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vader_bench.config.schema import RunConfig
from vader_bench.experiment.job import Job
from vader_bench.launch.display import Failure
from vader_bench.training.progress import Progress

__all__ = ["Execute", "Executor", "Finished", "Lost", "News", "Taken"]

Execute = Callable[[RunConfig, Path, str, Callable[[Progress], None]], object]
"""``execute(config, folder, device, report)`` does a whole run; importable by name in a new process."""


@dataclass(frozen=True)
class Finished:
    """A run went well."""


@dataclass(frozen=True)
class Taken:
    """Another launcher has the run."""


@dataclass(frozen=True)
class Lost:
    """What executed the run has gone, for no fault of the run: it can go on from its last checkpoint."""

    reason: str


News = Progress | Finished | Failure | Taken | Lost


class Executor(Protocol):
    """Executes runs at the same time, each apart from the others."""

    @property
    def device(self) -> str:
        """Where runs compute, as a worker names it: ``"cpu"`` or ``"cuda:0"``."""

    @property
    def slots(self) -> int:
        """How many runs it executes at a time; that may change."""

    def submit(self, job: Job) -> None:
        """Begin with a run."""

    def news(self, seconds: float) -> list[tuple[Job, News]]:
        """Return what there is to say of runs, after waiting for it for up to ``seconds``.

        Everything but progress is the last of its run.
        """

    def stop(self) -> None:
        """End whatever is still at work; checkpoints stay."""
