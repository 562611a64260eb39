"""What a run read that decided its numbers: runs that share a table must have read the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from vader_bench.config.names import UNTRAINED
from vader_bench.errors import UserError
from vader_bench.records.record import Record

__all__ = ["most_common", "other_inputs", "require_same_inputs", "runs_by_other_inputs"]

_PROMPTS = "prompts/"
_OWN = ("adapter", "code")
"""Digests of what may differ between runs that are compared."""


def other_inputs(record: Record, digests: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of weights and prompts that decided a run's numbers and are others in ``digests``.

    A name that only one of the two has is left out: 0.1.0 did not write down all of them. So are splits that
    the run neither trained on nor was looked at with.
    """
    return tuple(sorted(name for name, own in _used(record).items() if digests.get(name, own) != own))


def most_common(tables: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return by name the value that most of ``tables`` have, the first one of several that are as common."""
    values: dict[str, Counter[str]] = {}
    for name, value in (item for table in tables for item in table.items()):
        values.setdefault(name, Counter())[value] += 1
    return {name: counts.most_common(1)[0][0] for name, counts in values.items()}


def runs_by_other_inputs(
    pairs: Iterable[tuple[Record, Mapping[str, str]]],
) -> dict[tuple[str, ...], list[str]]:
    """Return the runs that read something else than the digests beside them, by the names of what it is."""
    found: dict[tuple[str, ...], list[str]] = {}
    for record, digests in pairs:
        if others := other_inputs(record, digests):
            found.setdefault(others, []).append(record.name)
    return found


def require_same_inputs(given: str, records: Sequence[Record]) -> None:
    """Refuse ``records`` for one table where some were made with other weights or prompts than most.

    Raises:
        UserError: it names them and what was different; ``given`` is what it says was given.
    """
    wanted = most_common([_used(record) for record in records])
    odd = runs_by_other_inputs((record, wanted) for record in records)
    if not odd:
        return
    told = []
    for others, names in odd.items():
        like = next(r.name for r in records if _used(r).get(others[0]) == wanted[others[0]])
        told.append(f"{', '.join(names)} had other {', '.join(others)} than {like}")
    remedy = "restore the right ones, delete the folders of runs made with others, and run again"
    raise UserError(given, f"holds runs that share no table: {' and '.join(told)}", remedy)


def _used(record: Record) -> dict[str, str]:
    splits = {evaluation.split for evaluation in record.evaluations}
    if record.method not in UNTRAINED:
        splits.add("train")
    return {
        name: digest
        for name, digest in record.digests.items()
        if name not in _OWN and (not name.startswith(_PROMPTS) or name.removeprefix(_PROMPTS) in splits)
    }
