"""What a run may spend, and what it has spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from time import perf_counter

__all__ = ["Budget", "BudgetExceededError", "Ledger", "Meter"]


class BudgetExceededError(RuntimeError):
    """A method asked for more than its budget allows: a defect of the method, never of the user."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a run may spend."""

    reward_queries: int
    """Videos scored by the training reward, each score counted once."""


@dataclass(kw_only=True)
class Ledger:
    """What a run has spent so far. Counts are exact; ``device_seconds`` is measured."""

    reward_queries: int = 0
    """Videos scored by the training reward."""
    gradient_queries: int = 0
    """Those of them whose score was differentiated."""
    frames_scored: int = 0
    """Frames handed to the reward."""
    denoiser_forwards: int = 0
    """Denoiser evaluations; a batch of B counts B."""
    denoiser_backwards: int = 0
    """Denoiser evaluations that were differentiated; a batch of B counts B."""
    vae_decodes: int = 0
    """Frames decoded from latents."""
    flops: int = 0
    """Floating-point operations by PyTorch's counter."""
    device_seconds: float = 0.0
    """Seconds of sampling, scoring and updating, summed over the devices of the run."""

    def as_dict(self) -> dict[str, int | float]:
        """Return the counts by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, counts: dict[str, int | float]) -> Ledger:
        """Return the ledger that ``as_dict`` described."""
        names = {f.name for f in fields(cls)}
        if set(counts) != names:
            raise ValueError(f"ledger fields {sorted(counts)} are not {sorted(names)}")
        return cls(**counts)  # type: ignore[arg-type]


@dataclass
class Meter:
    """A ledger under a budget, with a clock that runs only while the method works.

    Args:
        budget: the limit; a charge beyond it raises before anything is spent.
        synchronise: called at the borders of a timed region, to wait for the device.
        devices: how many a run holds as long as it works.
    """

    budget: Budget
    synchronise: Callable[[], None] = lambda: None
    ledger: Ledger = field(default_factory=Ledger)
    devices: int = 1
    _started: float | None = None

    @property
    def queries_left(self) -> int:
        """Reward queries that may still be made."""
        return self.budget.reward_queries - self.ledger.reward_queries

    def charge_queries(self, videos: int, *, frames: int, gradient: bool) -> None:
        """Charge ``videos`` reward queries over ``frames`` frames in all.

        Raises:
            BudgetExceededError: fewer queries are left; nothing is charged.
        """
        if videos > self.queries_left:
            raise BudgetExceededError(f"{videos} reward queries asked, {self.queries_left} left")
        self.ledger.reward_queries += videos
        self.ledger.frames_scored += frames
        if gradient:
            self.ledger.gradient_queries += videos

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time inside as device time."""
        self.synchronise()
        self._started = perf_counter()
        try:
            yield
        finally:
            self._stop()
            self._started = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time inside out of the device time: it is bookkeeping, not the method's work."""
        if self._started is None:
            yield
            return
        self._stop()
        try:
            yield
        finally:
            self.synchronise()
            self._started = perf_counter()

    def _stop(self) -> None:
        self.synchronise()
        assert self._started is not None
        self.ledger.device_seconds += self.devices * (perf_counter() - self._started)
