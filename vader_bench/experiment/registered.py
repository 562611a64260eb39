"""What is registered, for checks; imported late, since methods and families need torch."""

from __future__ import annotations

from vader_bench.config.schema import Settings

__all__ = ["backbone_families", "method_configs", "reward_families"]


def method_configs() -> dict[str, type[Settings]]:
    """Return the config of each registered method, by its name."""
    from vader_bench.methods import METHODS

    return {name: METHODS.get(name).Config for name in METHODS.names()}


def backbone_families() -> list[str]:
    """Return the names of the registered families of backbones."""
    from vader_bench.backbones import BACKBONES

    return BACKBONES.names()


def reward_families() -> list[str]:
    """Return the names of the registered families of rewards."""
    from vader_bench.rewards import REWARDS

    return REWARDS.names()
