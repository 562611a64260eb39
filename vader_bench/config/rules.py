"""Rules that values of files have beyond their types; pydantic calls them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from vader_bench.config.yamlfile import rule
from vader_bench.errors import shown

__all__ = [
    "WeightsName", "changes_table", "chosen", "distinct", "even", "gold_by_reward", "listed", "listed_if_any",
    "tables_by_reward", "with_heldout",
]  # fmt: skip

_PROMPT_SHARE = "oracle"
"""The family that measures the share of the prompt."""


def _names_weights(name: str) -> str:
    """Refuse a name that would be looked for in the working directory, and be in no record."""
    if "/" not in name and not name.startswith("hf:"):
        path = f"{name}/" if name.startswith(("~", "$")) else f"./{name}"
        remedy = f"write {path} for a file or folder beside this file, or one of pocket/... or hf:owner/name"
        raise rule(f"is {shown(name)}, and names of weights have a slash", remedy)
    return name


WeightsName = Annotated[str, AfterValidator(_names_weights)]
"""A setting that names weights: a path with a slash, ``pocket/<part>`` or ``hf:<owner>/<name>``."""


def distinct(values: list[Any]) -> list[Any]:
    """Refuse a list that names a value twice."""
    twice = sorted(value for value, count in Counter(values).items() if count > 1)
    if twice:
        raise rule(f"names {shown(twice[0])} twice", "name it once")
    return values


def gold_by_reward(suite: Any) -> Any:
    """Return a suite whose ``gold`` is by reward; older ones have one for all rewards, or ``null``."""
    if not isinstance(suite, dict) or "gold" not in suite:
        return suite
    gold = suite["gold"]
    if gold is None:
        return suite | {"gold": {}}
    if not isinstance(gold, dict) or not isinstance(gold.get("family"), str):
        return suite
    share = {"prompt_share": gold} if gold["family"] == _PROMPT_SHARE else {}
    return share | suite | {"gold": {"default": gold}}


def listed(value: Any) -> Any:
    """Return a list; a single word is a list of one."""
    return [value] if isinstance(value, str) else value


def listed_if_any(value: Any) -> Any:
    """Return a list as ``listed`` does; of nothing an empty one."""
    return [] if value is None else listed(value)


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


def chosen(names: Container[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of ``settings`` that are called ``names``."""
    return {name: value for name, value in settings.items() if name in names}
