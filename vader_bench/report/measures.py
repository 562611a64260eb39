"""The tables of what some experiments measure beside the reward: each is there where its numbers are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from vader_bench.records.record import Record
from vader_bench.report.load import Results
from vader_bench.report.tables import Table
from vader_bench.report.words import arms_listed, estimate_text, quantity
from vader_bench.stats import Course, course, drift, frontier, transfer
from vader_bench.stats.aggregate import over_seeds, spent

__all__ = ["findings", "measure_tables"]


def measure_tables(results: Results, reward: str) -> list[Table]:
    """Return the tables of further measures of the runs on ``reward``; those without rows are left out."""
    found = (
        _transfer(results, reward),
        _course(results, reward),
        _frontier(results, reward),
        _drift(results, reward),
        _cost(results, reward),
    )
    return [table for table in found if table.rows]


def findings(results: Results, reward: str) -> list[str]:
    """Return what these measures say about ``reward``, in sentences."""
    courses = {
        arm: course(records)
        for arm, records in _measured(results, reward, lambda record: record.has_path_kl)
        if results.trained(arm)
    }
    truth, share = "the truth that it imitates", "the share of the prompt that the oracle sees"
    families = results.families()
    lines = [
        *_fallen(courses, families, "over-optimised", truth, lambda state: state.hacked),
        *_fallen(courses, families, "departs from the prompt", share, lambda state: state.off_prompt),
    ]
    for arm, records in _measured(results, reward, lambda record: bool(record.extensions)):
        last = drift(records)[-1]
        if last.change.above_zero or last.change.below_zero:
            way = "rises" if last.change.above_zero else "falls"
            lines.append(f"With {arm} the reward {way} along the chunks, by {estimate_text(last.change)}.")
    return lines


def _fallen(
    courses: Mapping[str, Sequence[Course]],
    families: Mapping[str, Sequence[str]],
    name: str,
    what: str,
    fell: Callable[[Course], bool],
) -> Iterator[str]:
    """Yield a sentence with every arm's first look at which the reward has risen and ``what`` has fallen."""
    first: dict[int, list[str]] = {}
    for arm, states in courses.items():
        if (state := next(filter(fell, states), None)) is not None:
            first.setdefault(state.queries, []).append(arm)
    if first:
        told = "; ".join(
            f"after {queries} queries {arms_listed(first[queries], families)}" for queries in sorted(first)
        )
        risen = f"First look at which the reward has risen and {what} has fallen, both by interval"
        yield f"{risen} ({name}): {told}."


def _measured(
    results: Results, reward: str, has: Callable[[Record], bool]
) -> Iterator[tuple[str, list[Record]]]:
    """Yield the arms of which every record has the measure; their records in order of seed."""
    for arm in results.methods:
        records = results.compared(reward, arm)
        if records and all(has(record) for record in records):
            yield arm, records


def _transfer(results: Results, reward: str) -> Table:
    rows: list[list[str]] = []
    head = [""]
    judged = _measured(results, reward, lambda r: any(score.others for score in r.evaluations[0].scores))
    for arm, records in judged:
        gains = transfer(records)
        head = ["", *(f"{judge}{' (trained on)' if judge == reward else ''}" for judge in gains)]
        rows.append([arm, *map(estimate_text, gains.values())])
    return Table("Held-out gain over the base model, by other judges", head, rows)


def _course(results: Results, reward: str) -> Table:
    head = [
        "", "queries", "reward gain", "truth gain", "gain, share of the prompt", "diversity", "motion",
        "path KL (nats)",
    ]  # fmt: skip
    rows = [
        [
            arm if index == 0 else "",
            str(state.queries if results.trained(arm) else 0),
            *map(estimate_text, (state.gain, state.gold_gain, state.prompt_share_gain)),
            *map(estimate_text, (state.diversity, state.motion, state.path_kl)),
        ]
        for arm, records in _measured(results, reward, lambda record: record.has_path_kl)
        for index, state in enumerate(course(records)[0 if results.trained(arm) else -1 :])
    ]
    return Table("Along the budget", head, rows)


def _frontier(results: Results, reward: str) -> Table:
    rows = [
        [
            arm if index == 0 else "",
            f"{row.scale:g}",
            *map(estimate_text, (row.reward, row.gold, row.prompt_share, row.diversity)),
        ]
        for arm, records in _measured(results, reward, lambda record: bool(record.frontier))
        for index, row in enumerate(frontier(records))
    ]
    head = ["", "scale", "reward", "truth", "share of the prompt", "diversity"]
    return Table("Adapters scaled after training", head, rows)


def _drift(results: Results, reward: str) -> Table:
    head = ["", "chunk", "reward", *(f"{what}minus the first chunk" for what in ("", "truth ", "prompt "))]
    arms = [("base", results.of(reward, "base")[:1])] if results.of(reward, "base") else []
    arms += list(_measured(results, reward, lambda record: bool(record.extensions)))
    rows = [
        [
            arm if index == 0 else "",
            str(state.chunk),
            *map(estimate_text, (state.reward, state.change, state.gold_change, state.prompt_share_change)),
        ]
        for arm, records in arms
        if all(record.extensions for record in records)
        for index, state in enumerate(drift(records))
    ]
    return Table("Videos made longer, chunk by chunk", head, rows)


def _cost(results: Results, reward: str) -> Table:
    """Return time, FLOPs and memory of each arm, also as a share of the first arm's."""
    arms = list(_measured(results, reward, lambda record: record.peak_bytes is not None))
    found = {
        arm: (
            spent([record.ledger for record in records], "device_seconds"),
            spent([record.ledger for record in records], "flops"),
            float(over_seeds(np.asarray([record.peak_bytes or 0 for record in records], dtype=np.float64))),
        )
        for arm, records in arms
    }
    first = next(iter(found.values()), (1.0, 1.0, 1.0))
    rows = [
        [
            arm,
            *(
                f"{text} ({value / whole:.2f})"
                for text, value, whole in zip(_texts(cost), cost, first, strict=True)
            ),
        ]
        for arm, cost in found.items()
    ]
    return Table(
        "What a run costs (and as a share of the first row)", ["", "device time", "FLOPs", "memory"], rows
    )


def _texts(cost: tuple[float, float, float]) -> tuple[str, str, str]:
    seconds, flops, peak = cost
    return quantity(seconds, "seconds"), quantity(flops, "flops"), f"{peak / 2**20:.1f} MiB"
