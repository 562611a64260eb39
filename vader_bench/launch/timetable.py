"""Which run to start next, and how long the rest will take."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from statistics import fmean

__all__ = ["Pace", "Timetable"]

_TRUSTED_FRACTION = 0.05
"""Below this share of a run its speed says too little about its length."""


@dataclass
class Pace:
    """How fast a run goes.

    It is judged between the first and the last that the run says of itself: before the first, models are
    loaded and a run that goes on from a checkpoint has a part behind it; after the last, nothing is known.
    """

    _first: tuple[float, float] | None = None
    _last: tuple[float, float] = (0.0, 0.0)

    def note(self, seconds: float, fraction: float) -> None:
        """Note that after ``seconds`` the run says that this ``fraction`` of it, in [0, 1], is finished."""
        self._last = (seconds, fraction)
        self._first = self._first or self._last

    def length(self) -> float | None:
        """Return the seconds that the run takes in all; ``None`` while too little of it was seen."""
        speed, (seconds, fraction) = self._speed(), self._last
        return None if speed is None else seconds + (1.0 - fraction) / speed

    def whole(self) -> float | None:
        """Return the seconds that one like it takes from its start; ``None`` as for ``length``."""
        speed, (since, _) = self._speed(), self._first or self._last
        return None if speed is None else since + 1.0 / speed

    def _speed(self) -> float | None:
        """Return the fraction done in a second."""
        since, start = self._first or self._last
        seconds, fraction = self._last
        trusted = seconds > since and fraction - start >= _TRUSTED_FRACTION  # news heard at once has no speed
        return (fraction - start) / (seconds - since) if trusted else None


@dataclass
class Timetable:
    """What is known about the length of runs, by kind: runs of one method and reward take about as long."""

    _seconds: dict[Hashable, list[float]] = field(default_factory=dict)

    def record(self, kind: Hashable, seconds: float, pace: Pace | None = None) -> None:
        """Note that a run of ``kind`` took ``seconds``; by its pace more where a part was done before."""
        whole = pace.whole() if pace else None
        self._seconds.setdefault(kind, []).append(seconds if whole is None else max(seconds, whole))

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
        running: Iterable[tuple[Hashable, float, Pace]],
        waiting: Iterable[Hashable],
        workers: int,
    ) -> float | None:
        """Return the expected seconds until all runs are done; ``None`` while nothing is known.

        Args:
            running: kind, seconds so far and pace of each run at work.
            waiting: kinds of the runs that have not started.
            workers: runs at work at a time.
        """
        running, waiting = list(running), list(waiting)
        lengths = [pace.length() or self.expected(kind) for kind, _, pace in running]
        wholes = [pace.whole() or self.expected(kind) for kind, _, pace in running]
        known = [whole for whole in wholes if whole is not None]
        known += [length for kind in waiting if (length := self.expected(kind)) is not None]
        known = known or [fmean(seconds) for seconds in self._seconds.values()]  # of other kinds
        if not known:
            return None if running or waiting else 0.0
        typical = fmean(known)
        left = [
            max(0.0, (typical if length is None else length) - elapsed)
            for length, (_, elapsed, _) in zip(lengths, running, strict=True)
        ]
        rest = sum(typical if (length := self.expected(kind)) is None else length for kind in waiting)
        return max([*left, (sum(left) + rest) / workers])
