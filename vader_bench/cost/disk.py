"""What weights and results take on a disk."""

from __future__ import annotations

from collections.abc import Sequence

from vader_bench.cost.whatif import Planned

__all__ = ["parameters", "results_bytes"]

_CHECKPOINT = 3
"""Times the adapters: they and the two moments of the optimiser."""


def parameters(planned: Sequence[Planned]) -> int:
    """Return the number of parameters of all networks that the arms use, each network counted once."""
    found: dict[int, int] = {}
    for one in planned:
        networks = one.networks.of(one.run)
        for module in networks.modules(one.run.reward):
            adapted = networks.adapters // 4 if module is networks.backbone.denoiser else 0
            found[id(module)] = sum(weight.numel() for weight in module.parameters()) - adapted
    return sum(found.values())


def results_bytes(one: Planned) -> int:
    """Return the bytes that a run leaves: the adapters at each look, and its checkpoint."""
    looks = one.run.reward_queries // one.run.evaluation.every
    return (looks + _CHECKPOINT) * one.networks.of(one.run).adapters
