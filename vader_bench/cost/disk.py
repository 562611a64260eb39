"""What weights and results take on a disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from vader_bench.config.paths import weight_names
from vader_bench.config.schema import RunConfig
from vader_bench.cost.whatif import Planned
from vader_bench.rewards.base import reward_skeleton

__all__ = ["parameters", "results_bytes"]

_CHECKPOINT = 3
"""Times the adapters: they and the two moments of the optimiser."""


def parameters(planned: Sequence[Planned]) -> int:
    """Return the number of parameters of all networks that the arms use, without their adapters.

    What is fetched once is counted once: networks of one family and of weights of the same names, whatever
    the switches and adapters of the arms, and whatever they are used for.
    """
    found: dict[tuple[str, ...], int] = {}
    for one in planned:
        backbone = one.run.suite.backbone
        if (key := _fetched(backbone.family, backbone.settings)) not in found:
            networks = one.networks.of(one.run)
            adapters = sum(weight.numel() for weight in networks.lora.parameters())
            found[key] = _count(networks.backbone.modules()) - adapters
        for family, settings in _judges(one.run):
            if (key := _fetched(family, settings)) not in found:
                found[key] = _count(reward_skeleton(family, settings).modules())
    return sum(found.values())


def results_bytes(one: Planned) -> int:
    """Return the bytes that a run leaves: the adapters at each look, and its checkpoint."""
    looks = one.run.reward_queries // one.run.evaluation.every
    return (looks + _CHECKPOINT) * one.networks.of(one.run).adapters


def _judges(run: RunConfig) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield family and settings of all that judges videos, as ``SuiteConfig.weights`` has them."""
    for name in (run.reward, *run.other_judges):
        for component in (run.suite.rewards[name], *run.suite.measures_for(name)):
            yield from _parts(component.family, component.settings)


def _parts(family: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the reward; of ``mix`` its parts, which are rewards too."""
    if family != "mix":
        yield family, settings
        return
    for part, own in settings["parts"].items():
        yield from _parts(part, own or {})


def _fetched(family: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is the same where the same is fetched."""
    return (family, *sorted(weight_names(settings)))


def _count(modules: Sequence[nn.Module]) -> int:
    """Return the number of all parameters, each counted once."""
    found = {id(weight): weight.numel() for module in modules for weight in module.parameters()}
    return sum(found.values())
