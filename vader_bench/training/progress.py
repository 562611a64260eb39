"""How far a run is."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

__all__ = ["Progress", "Tally"]


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    done: int
    """Videos sampled so far, for training and for evaluation."""
    total: int
    """Videos sampled in the whole run."""
    note: str
    """What it has spent and how well it does, e.g. ``"128 queries, held-out 5.43"``."""


@dataclass
class Tally:
    """Counts the videos of a run while it trains and measures, and tells how far it is."""

    total: int
    report: Callable[[Progress], None]
    queries: int = 0
    heldout: float | None = None
    """The last point of the curve."""
    measured: dict[Hashable, int] = field(default_factory=dict)
    """Videos of each measurement that is there."""
    _current: int = 0

    def trained(self, queries: int) -> None:
        """Note that so many reward queries are spent."""
        self.queries = queries
        self._tell()

    def sampled(self, videos: int) -> None:
        """Note more videos of the measurement that is being made."""
        self._current += videos
        self._tell()

    def ended(self, measurement: Hashable, videos: int) -> None:
        """Note that a measurement is there, made or found, with all its videos."""
        self.measured[measurement] = videos
        self._current = 0
        self._tell()

    def _tell(self) -> None:
        note = f"{self.queries} queries"
        if self.heldout is not None:
            note += f", held-out {self.heldout:.4g}"
        done = self.queries + sum(self.measured.values()) + self._current
        self.report(Progress(min(self.total, done), self.total, note))
