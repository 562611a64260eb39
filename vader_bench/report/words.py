"""Numbers and findings in words: what tables, figure and page have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from vader_bench.stats import Estimate
from vader_bench.stats.bootstrap import no_spread
from vader_bench.stats.compare import SIGNIFICANT

__all__ = [
    "NOT_REACHED",
    "Column",
    "Kind",
    "arms_listed",
    "cells",
    "columns",
    "effect_text",
    "estimate_text",
    "listed",
    "number",
    "p_text",
    "quantity",
    "significant",
]

Kind: TypeAlias = Literal["reward", "effect", "queries", "flops", "seconds", "times", "multiple", "ratio"]

NOT_REACHED = "not reached"
UNBOUNDED = "unbounded"
_MANY = 3
"""Arms of a method that are named together."""


class Column(NamedTuple):
    """A statistic as a column of a table."""

    key: str
    title: str
    kind: Kind


_COLUMNS = (
    Column("heldout_reward", "held-out reward", "reward"),
    Column("gain", "gain", "reward"),
    Column("smallest_gain", "gain found", "effect"),
    Column("area", "mean over budget", "reward"),
    Column("reward_at_equal_flops", "at equal FLOPs", "reward"),
    Column("reward_at_equal_device_seconds", "at equal device time", "reward"),
    Column("threshold", "threshold", "reward"),
    Column("queries_to_threshold", "queries to threshold", "queries"),
    Column("queries_speed_up", "fewer queries", "times"),
    Column("flops_to_threshold", "FLOPs to threshold", "flops"),
    Column("flops_speed_up", "fewer FLOPs", "times"),
    Column("device_seconds_to_threshold", "device time to threshold", "seconds"),
    Column("device_seconds_speed_up", "less device time", "times"),
    Column("queries_to_target", "queries to target", "multiple"),
    Column("flops_to_target", "FLOPs to target", "multiple"),
    Column("device_seconds_to_target", "device time to target", "multiple"),
    Column("gain_train", "gain, train", "reward"),
    Column("gain_composition", "gain, new compositions", "reward"),
    Column("gain_noun", "gain, new nouns", "reward"),
    Column("heldout_over_train", "held-out / train gain", "ratio"),
    Column("gold", "truth", "reward"),
    Column("gold_gain", "truth gain", "reward"),
    Column("prompt_share", "share of the prompt", "reward"),
    Column("prompt_share_gain", "gain, share of the prompt", "reward"),
    Column("diversity", "diversity", "reward"),
    Column("margin_over_best_of", "above best-of-N", "reward"),
)


def columns(keys: set[str]) -> list[Column]:
    """Return the columns of a table, those for further splits found in ``keys`` at the end.

    Columns about a target are there where the experiment has one.
    """
    known = {column.key for column in _COLUMNS}
    more = sorted(key for key in keys - known if key.startswith("gain_"))
    extra = [Column(key, f"gain, {key.removeprefix('gain_')}", "reward") for key in more]
    asked = [column for column in _COLUMNS if column.key in keys or not column.key.endswith("_to_target")]
    return [*asked, *extra]


def number(value: float) -> str:
    """Return ``value`` with nine significant digits, for files; empty for NaN."""
    return "" if math.isnan(value) else f"{value:.9g}"


def cells(estimate: Estimate, kind: Kind) -> tuple[str, str, str]:
    """Return value and limits for a file; where there is no number, the reason stands for the value."""
    if estimate.absent:
        return estimate.absent, "", ""
    value, low, high = (_special(x, kind) or number(x) for x in (estimate.value, estimate.low, estimate.high))
    return value, low, high


def estimate_text(estimate: Estimate, kind: Kind = "reward") -> str:
    """Return ``value [low, high]`` for reading, to the digits that the interval warrants."""
    if estimate.absent:
        return estimate.absent
    half = (estimate.high - estimate.low) / 2
    spread = half < math.inf and not no_spread(estimate.value, half)
    digits = max(0, 1 - math.floor(math.log10(half))) if spread else None
    value, low, high = (quantity(x, kind, digits) for x in (estimate.value, estimate.low, estimate.high))
    by_definition = kind not in {"reward", "ratio"} and estimate.low == estimate.value == estimate.high
    return value if by_definition or math.isnan(estimate.low) else f"{value} [{low}, {high}]"


def effect_text(size: float) -> str:
    """Return the size of an effect for reading, to two digits, but whole numbers in full."""
    return significant(size, 2)


def significant(value: float, digits: int) -> str:
    """Return a number to so many significant digits, but whole numbers in full, where `g` has an exponent."""
    return f"{value:.{digits}g}" if abs(value) < 10**digits - 0.5 else f"{value:.0f}"


def quantity(value: float, kind: Kind, digits: int | None = None) -> str:
    """Return one number with its unit, for reading.

    Args:
        value: the number; infinite or zero where a threshold is never reached.
        kind: what it counts.
        digits: decimals of a plain number; ``None`` for four significant digits.
    """
    special = _special(value, kind)
    if special is not None:
        return special
    if kind == "effect":
        return effect_text(value)
    if kind == "queries":
        return f"{value:.0f}"
    if kind in {"times", "multiple"}:
        return f"{significant(value, 3)}x"
    if kind == "flops":
        return _flops(value)
    if kind == "seconds":
        return _duration(value)
    # adding 0.0 makes a zero of what rounds to minus zero
    return significant(value, 4) if digits is None else f"{round(value, digits) + 0.0:.{digits}f}"


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them: ``a, b and c``."""
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def arms_listed(names: Sequence[str], families: Mapping[str, Sequence[str]]) -> str:
    """Return names of arms as ``listed`` does, but one term for the methods all of whose many arms are there.

    Args:
        names: of arms, in the order in which they are named.
        families: the arms of the experiment by method.
    """
    many = {method: arms for method, arms in families.items() if len(arms) >= _MANY and len(families) > 1}
    whole = [method for method, arms in many.items() if set(arms) <= set(names)]
    rest = listed([name for name in names if not any(name in many[method] for method in whole)])
    together = f"all arms of {listed(whole)}" if whole else ""
    return ", and ".join(filter(None, [together, rest]))


def p_text(p_value: float) -> str:
    """Return a p-value for reading, with more digits where it would look like 0.05 and decides otherwise."""
    if p_value < 0.001:
        return "< 0.001"
    texts = (f"{p_value:.{digits}f}" for digits in (3, 4, 5, 6))
    return next((text for text in texts if float(text) != SIGNIFICANT), f"{p_value:.3f}")


def _special(value: float, kind: Kind) -> str | None:
    """Return what a zero or an infinity means for ``kind``; ``None`` where it is a plain number."""
    if kind == "times" and value == 0:
        return NOT_REACHED
    if not math.isinf(value):
        return None
    return NOT_REACHED if kind in {"queries", "flops", "seconds", "multiple"} else UNBOUNDED


def _flops(value: float) -> str:
    for size, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G")):
        if value >= size:
            return f"{value / size:.3g} {prefix}FLOP"
    return f"{significant(value, 3)} FLOP"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
