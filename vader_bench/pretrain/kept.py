"""Measurements of the card that still hold: those of weights that did not change since they were made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vader_bench.files import read_json
from vader_bench.weights.resolve import unchanged

__all__ = ["MEASURED", "keep_or_measure"]

MEASURED = "measured.json"
"""File in the folder of the weights that holds all measurements of the card."""


def keep_or_measure(
    out: Path, parts: Sequence[str], keys: Sequence[str], measure: Callable[[], Mapping[str, object]]
) -> dict[str, object]:
    """Return the measurements ``keys`` of the weights ``parts`` in ``out``, measuring only what is not there.

    Raises:
        ValueError: ``measure`` returns other keys.
    """
    path = out / MEASURED
    before = read_json(path) if path.exists() else {}
    known = isinstance(before, dict) and set(keys) <= before.keys()
    if known and all(unchanged(out, part) for part in parts):
        return {key: before[key] for key in keys}
    measured = dict(measure())
    if measured.keys() != set(keys):
        raise ValueError(f"measured {sorted(measured)}, wanted {sorted(keys)}")
    return measured
