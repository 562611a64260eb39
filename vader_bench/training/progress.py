"""How far a run is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Progress"]


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    done: int
    """Videos sampled so far, for training and for evaluation."""
    total: int
    """Videos sampled in the whole run."""
    note: str
    """What it has spent and how well it does, e.g. ``"128 queries, held-out 5.43"``."""
