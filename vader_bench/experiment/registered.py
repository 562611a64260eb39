"""What is registered, for checks. Names are known without importing what they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vader_bench.backbones import BACKBONES
from vader_bench.config.settings import Settings
from vader_bench.methods import METHODS
from vader_bench.registry import own_code
from vader_bench.rewards import REWARDS

__all__ = ["backbone_families", "method_configs", "reward_families"]


class _Configs(Mapping[str, type[Settings]]):
    """The configs of methods, by name or as ``FILE.py:NAME``; a method is imported when it is asked for."""

    def __getitem__(self, name: str) -> type[Settings]:
        return METHODS.get(name).Config

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (own_code(name) is not None or name in METHODS.names())

    def __iter__(self) -> Iterator[str]:
        return iter(METHODS.names())

    def __len__(self) -> int:
        return len(METHODS.names())


def method_configs() -> Mapping[str, type[Settings]]:
    """Return the config of each registered method, by its name.

    Asking it for one raises ``UserError`` where code of others cannot be used; see ``Registry.get``.
    """
    return _Configs()


def backbone_families() -> list[str]:
    """Return the names of the registered families of backbones."""
    return BACKBONES.names()


def reward_families() -> list[str]:
    """Return the names of the registered families of rewards."""
    return REWARDS.names()
