"""Networks without values, made once for all tests of what-ifs: what they cost is the same in each."""

from __future__ import annotations

from collections.abc import Sequence

from vader_bench.config.schema import SuiteConfig
from vader_bench.cost import whatif
from vader_bench.cost.skeletons import Skeletons

__all__ = ["made_once"]

_MADE: dict[tuple[str, tuple[str, ...], int], Skeletons] = {}


def made_once(
    suite: SuiteConfig, rewards: Sequence[str], rank: int, like: Skeletons | None = None
) -> Skeletons:
    """Return what ``Skeletons`` would for the same arguments, and what is known already of its calls."""
    key = (whatif._what_costs(suite), tuple(rewards), rank)
    if key not in _MADE:
        _MADE[key] = Skeletons(suite, rewards, rank, like)
    return _MADE[key]
