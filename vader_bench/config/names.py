"""Names that several rooms use: of the untrained model, of the split of the curves, of runs."""

from __future__ import annotations

__all__ = ["BASE", "HELDOUT", "run_name"]

BASE = "base"
"""The name of the untrained model among the methods."""
HELDOUT = "heldout"
"""The split whose rewards make the curves, and on which best-of-N of the base model is found."""


def run_name(arm: str, reward: str, seed: int) -> str:
    """Return the name of a run's folder."""
    return f"{arm}-{reward}-seed{seed}"
