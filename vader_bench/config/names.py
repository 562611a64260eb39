"""Names that several rooms use: of the untrained model, of the split of the curves, of runs."""

from __future__ import annotations

__all__ = ["ADAPTER", "ADAPTER_NAME", "BASE", "HELDOUT", "UNTRAINED", "run_name"]

BASE = "base"
"""The name of the untrained model among the methods."""
ADAPTER = "adapter"
"""What stands for the method of an arm that is not trained here: adapters from a file."""
UNTRAINED = (BASE, ADAPTER)
"""What stands among the methods and spends nothing."""
ADAPTER_NAME = "lora.safetensors"
"""File in a run's folder: the adapters after the whole budget. Those of looks before are in ``adapters/``."""
HELDOUT = "heldout"
"""The split whose rewards make the curves, and on which best-of-N of the base model is found."""


def run_name(arm: str, reward: str, seed: int) -> str:
    """Return the name of a run's folder."""
    return f"{arm}-{reward}-seed{seed}"
