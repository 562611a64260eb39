"""The tables of methods, rewards and backbones name every class that there is, once."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from vader_bench import backbones, methods, rewards
from vader_bench.backbones.base import BackboneFactory
from vader_bench.methods.base import Method
from vader_bench.registry import Registry
from vader_bench.rewards.base import Reward

KINDS: list[tuple[ModuleType, Registry[Any], type]] = [
    (methods, methods.METHODS, Method),
    (rewards, rewards.REWARDS, Reward),
    (backbones, backbones.BACKBONES, BackboneFactory),
]


@pytest.mark.parametrize(("package", "registry", "base"), KINDS, ids=lambda each: getattr(each, "noun", ""))
def test_the_table_names_each_class_once(package: ModuleType, registry: Registry[Any], base: type) -> None:
    modules = [
        import_module(found.name) for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    classes = [
        f"{kind.__module__}:{kind.__qualname__}"
        for module in modules
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, base) and kind.__module__ == module.__name__
        if not inspect.isabstract(kind) and not name.startswith("_") and not module.__name__.endswith(".base")
    ]
    assert sorted(classes) == sorted(registry.table.values())
    assert list(registry.table) == sorted(registry.table), "a table is in order"


@pytest.mark.parametrize("name", sorted(rewards.REWARDS.table))
def test_a_reward_is_called_what_the_table_calls_it(name: str) -> None:
    assert getattr(rewards.REWARDS.get(name), "name", None) == name
