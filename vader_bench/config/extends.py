"""What a file that extends another says: its own keys, and the other's where it is silent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["EXTENDS", "extended"]

EXTENDS = "extends"
"""Key of a suite file that names the suite it starts from."""
_MERGED = frozenset({"rewards", "gold", "prompts", "methods", "memory", "sampler"})
"""Tables taken entry by entry. A backbone is taken whole: settings of one family do not fit another."""
_BY_REWARD = ("gold", "prompts")
"""Tables by reward: what they have of a reward that is left out goes with it."""
_OWN = "suite"
"""The name is never taken over: two suites of one name could not be distinguished in results."""


def extended(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the suite that ``own`` describes, which starts from ``base``.

    Keys of ``own`` replace those of ``base``. In the tables of rewards, golds, prompts, methods, memory and
    sampler single entries do; an entry that is ``null`` is left out, a reward with its gold and prompts.
    """
    rewards: Any = own.get("rewards")
    left_out = {name for name, value in rewards.items() if value is None} if _is_table(rewards) else set()
    base = {key: _without(left_out, value) if key in _BY_REWARD else value for key, value in base.items()}
    inherited = {key: value for key, value in base.items() if key != _OWN}
    return inherited | {key: _joined(key, base.get(key), value) for key, value in own.items()}


def _joined(key: str, base: Any, own: Any) -> Any:
    if key not in _MERGED or not _is_table(base) or not _is_table(own):
        return own
    return {name: value for name, value in (base | own).items() if value is not None}


def _without(names: Collection[str], table: Any) -> Any:
    return {name: value for name, value in table.items() if name not in names} if _is_table(table) else table


def _is_table(value: Any) -> bool:
    """Return whether ``value`` has entries by name; a single gold for all rewards is a component."""
    return isinstance(value, dict) and not isinstance(value.get("family"), str)
