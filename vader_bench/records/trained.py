"""What a run's training leaves beside its adapters: what it depended on, where it was done, what it spent."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vader_bench.records.record import Stored

__all__ = ["AdapterPoint", "Provenance", "Training"]


class Provenance(Stored):
    """What was in force when a training began: ``origin.json``."""

    version: Literal[1] = 1
    key: str
    """SHA-256 of ``depends_on``: trainings with one key give the same adapters."""
    depends_on: dict[str, Any]
    """All that decides the adapters; see ``training.identity``."""
    command: str
    """The command that began it."""
    digests: dict[str, str]
    """As in the record."""
    packages: dict[str, str]
    machine: dict[str, Any]
    git: dict[str, Any]


class AdapterPoint(Stored):
    """A moment of a training at which its adapters were kept."""

    ledger: dict[str, int | float]
    """What had been spent."""
    adapter: str | None
    """SHA-256 of the adapters' file; ``None`` before training, where the model is the base model."""

    @property
    def queries(self) -> int:
        """Return the reward queries spent before."""
        return int(self.ledger["reward_queries"])

    def spent(self) -> dict[str, int | float]:
        """Return the ledger as metrics name it."""
        ledger = dict(self.ledger)
        return {"queries": ledger.pop("reward_queries"), **ledger}


class Training(Stored):
    """A training that has spent its budget: ``training.json``."""

    version: Literal[1] = 1
    key: str
    """That of its origin."""
    points: list[AdapterPoint]
    """In order of queries: at every look along the training."""
    metrics_bytes: int
    """How much of ``metrics.jsonl`` is the training's; measurements come after it."""
    metrics_sha256: str = ""
    """Digest of that much of it."""
    taken_from: str = ""
    """``<experiment>/<suite>/<run>`` that did the training, where this run did not."""
    notes: list[str] = Field(default=[])
    """What the method wants said beside the numbers."""

    def at(self, queries: int) -> AdapterPoint:
        """Return the moment after so many reward queries.

        Raises:
            KeyError: no adapters were kept then.
        """
        for point in self.points:
            if point.queries == queries:
                return point
        raise KeyError(queries)
