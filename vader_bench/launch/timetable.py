"""Which run to start next, and how long the rest will take."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from statistics import fmean

__all__ = ["Timetable"]

_TRUSTED_FRACTION = 0.05
"""Below this share of a run its speed says too little about its length."""


@dataclass
class Timetable:
    """What is known about the length of runs, by kind: runs of one method and reward take about as long."""

    _seconds: dict[Hashable, list[float]] = field(default_factory=dict)

    def record(self, kind: Hashable, seconds: float) -> None:
        """Note that a run of ``kind`` took ``seconds``."""
        self._seconds.setdefault(kind, []).append(seconds)

    def expected(self, kind: Hashable) -> float | None:
        """Return the mean length of finished runs of ``kind``, in seconds; ``None`` before the first."""
        return fmean(self._seconds[kind]) if kind in self._seconds else None

    def pick(self, waiting: Iterable[Hashable]) -> int:
        """Return the index of the run to start next.

        A kind of unknown length goes first, because it may be the longest; then the longest goes first,
        so that no long run is left for the end while other workers idle.
        """
        lengths = [self.expected(kind) for kind in waiting]
        return max(range(len(lengths)), key=lambda i: (lengths[i] is None, lengths[i] or 0.0, -i))

    def seconds_left(
        self,
        running: Iterable[tuple[Hashable, float, float]],
        waiting: Iterable[Hashable],
        workers: int,
    ) -> float | None:
        """Return the expected seconds until all runs are done; ``None`` while nothing is known.

        Args:
            running: kind, seconds so far and finished fraction in [0, 1] of each run at work.
            waiting: kinds of the runs that have not started.
            workers: runs at work at a time.
        """
        running, waiting = list(running), list(waiting)
        lengths = [self._length(*run) for run in running]
        known = [length for length in lengths if length is not None]
        known += [length for kind in waiting if (length := self.expected(kind)) is not None]
        if not known:
            return None if running or waiting else 0.0
        typical = fmean(known)
        left = [
            max(0.0, (typical if length is None else length) - elapsed)
            for length, (_, elapsed, _) in zip(lengths, running, strict=True)
        ]
        rest = sum(typical if (length := self.expected(kind)) is None else length for kind in waiting)
        return max([*left, (sum(left) + rest) / workers])

    def _length(self, kind: Hashable, elapsed: float, fraction: float) -> float | None:
        if fraction >= _TRUSTED_FRACTION:
            return elapsed / fraction
        return self.expected(kind)
