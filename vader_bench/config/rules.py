"""Rules that values of files have beyond their types; pydantic calls them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from vader_bench.config.yamlfile import rule
from vader_bench.errors import shown

__all__ = ["changes_table", "distinct", "even", "listed", "tables_by_reward", "with_heldout"]


def distinct(values: list[Any]) -> list[Any]:
    """Refuse a list that names a value twice."""
    twice = sorted(value for value, count in Counter(values).items() if count > 1)
    if twice:
        raise rule(f"names {shown(twice[0])} twice", "name it once")
    return values


def listed(value: Any) -> Any:
    """Return a list; a single word is a list of one."""
    return [value] if isinstance(value, str) else value


def even(value: int) -> int:
    """Refuse an odd number."""
    if value % 2:
        raise rule(f"is {value}", "it must be even, so that no pair of videos is cut")
    return value


def changes_table(value: Any) -> Any:
    """Refuse anything but a table of what an arm changes in the suite."""
    if not isinstance(value, dict):
        raise rule("is no table of keys of the suite", "write keys such as decode_frames below it")
    return value


def tables_by_reward(value: Any) -> Any:
    """Refuse anything but tables of settings by reward."""
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise rule("is no table of settings by reward", "indent them below a reward")
    return value


def with_heldout(splits: list[str]) -> list[str]:
    """Refuse splits without the held-out one."""
    if "heldout" not in splits:
        raise rule("leaves out 'heldout'", "add it: the curves and the table are about this split")
    return splits
