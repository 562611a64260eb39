"""Records of older versions as records of today: one function a version, applied one after the other.

A version grows whenever a field is added, renamed or given another meaning. What was written in an older
version is never changed on disk but by ``vader-bench keep``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["EXPERIMENT_VERSION", "RECORD_VERSION", "gold_is_share", "tables", "upgraded", "with_looks"]

_Table = Mapping[str, Any]


def tables(table: _Table, key: str) -> list[_Table]:
    """Return the tables that ``table`` lists under ``key``.

    Raises:
        ValueError: there is no such list, or something else in it.
    """
    found = table.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{key} is no list of tables")
    return found


def with_looks(record: _Table, change: Callable[[_Table], _Table]) -> dict[str, Any]:
    """Return ``record`` with every look at a model as ``change`` returns it.

    Raises:
        ValueError: what should be looks are none.
    """
    changed: dict[str, Any] = {**record}
    if "evaluations" in record:
        changed["evaluations"] = [change(look) for look in tables(record, "evaluations")]
    if "frontier" in record:
        changed["frontier"] = [
            {**point, "look": change(_table(point, "look"))} for point in tables(record, "frontier")
        ]
    return changed


def gold_is_share(config: _Table) -> bool:
    """Return whether what a run of ``config`` calls gold is the share of the prompt, as with 0.1.0."""
    suite = config.get("suite")
    gold = suite.get("gold") if isinstance(suite, dict) else None
    return isinstance(gold, dict) and gold.get("family") == "oracle"


def _to_2(data: _Table) -> dict[str, Any]:
    """Every reward has a truth of its own, and the oracle's score is the share of the prompt.

    1 had one gold for all rewards. One that was no oracle stays what it was, the truth of the reward.
    """
    as_share = gold_is_share(_table(data, "config") if "config" in data else {})
    moved = {"gold": "prompt_share", "golds": "prompt_shares"} if as_share else {}

    def renamed(table: _Table) -> dict[str, Any]:
        return {moved.get(key, key): value for key, value in table.items()}

    def look(evaluation: _Table) -> dict[str, Any]:
        return {**evaluation, "scores": [renamed(score) for score in tables(evaluation, "scores")]}

    changed = with_looks(data, look)
    if "extensions" in data:
        changed["extensions"] = [renamed(extension) for extension in tables(data, "extensions")]
    return changed


def _to_3(data: _Table) -> dict[str, Any]:
    """A record has the key of its training, the command that began it, and whose training it took.

    None of them is known of older runs: they stay empty.
    """
    return {**data}


def _to_4(data: _Table) -> dict[str, Any]:
    """A record says whether its method is a baseline, which a list of names said until then."""
    return {**data, "baseline": data.get("method") in ("ddpo", "diffusion-dpo")}


def _to_5(data: _Table) -> dict[str, Any]:
    """A file may have the scores of a look by column; rows stay rows. See ``columns``."""
    return {**data}


_STEPS: Final[Mapping[int, Callable[[_Table], dict[str, Any]]]] = {2: _to_2, 3: _to_3, 4: _to_4, 5: _to_5}
"""By the version that each one leads to."""
RECORD_VERSION: Final = 5
EXPERIMENT_VERSION: Final = 1
"""Of ``experiment.yaml`` in a results folder; one without a version, as 0.1.0 wrote it, has the first."""


def upgraded(data: _Table) -> dict[str, Any]:
    """Return a record of any version from 1 to ``RECORD_VERSION`` as one of the newest."""
    for version in range(data["version"] + 1, RECORD_VERSION + 1):
        data = _STEPS[version](data) | {"version": version}
    return dict(data)


def _table(table: _Table, key: str) -> _Table:
    found = table.get(key)
    if not isinstance(found, dict):
        raise ValueError(f"{key} is no table")  # noqa: TRY004 -- pydantic takes it for a fault of the file
    return found
