"""The summary: one row a reward and method, the pairs of methods, for files and for reading."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from vader_bench.config.names import BASE
from vader_bench.report.load import Results
from vader_bench.report.tables import Table
from vader_bench.report.words import Column, cells, columns, effect_text, estimate_text, number, p_text
from vader_bench.stats import Analysis, ArmSummary, Estimate, MethodComparison
from vader_bench.stats.aggregate import aggregate_name, spent

__all__ = [
    "arm_names",
    "overview_table",
    "pairs_frame",
    "pairs_table",
    "spending",
    "statistic",
    "statistics_tables",
    "summary_frame",
]

MISSING = Estimate.none("missing")

PAIR_COLUMNS = (
    "reward", "first", "second", "difference", "difference_low", "difference_high", "wins", "seeds",
    "p_value", "p_holm", "ahead", "smallest_difference",
)  # fmt: skip

_THRESHOLD = "Spent until the best baseline's final reward is reached"
_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Reward at equal budget",
        (
            "heldout_reward",
            "gain",
            "smallest_gain",
            "margin_over_best_of",
            "area",
            "reward_at_equal_flops",
            "reward_at_equal_device_seconds",
        ),
    ),
    (
        _THRESHOLD,
        (
            "queries_to_threshold",
            "queries_speed_up",
            "flops_speed_up",
            "device_seconds_to_threshold",
            "device_seconds_speed_up",
        ),
    ),
    (
        "Spent until the target is reached, as a multiple of what its arm spent",
        ("queries_to_target", "flops_to_target", "device_seconds_to_target"),
    ),
    (
        "Generalisation",
        ("gain_train", "gain", "gain_composition", "gain_noun", "heldout_over_train"),
    ),
    (
        "Truth of the reward, share of the prompt, and diversity",
        ("gold", "gold_gain", "prompt_share", "prompt_share_gain", "diversity"),
    ),
)
_KNOWN = {key for _, keys in _GROUPS for key in keys}


def arm_names(results: Results, analysis: Analysis | None) -> list[str]:
    """Return the rows of a reward's table: base model, best-of-N, then every method asked for."""
    sizes = [n for n in results.experiment.evaluation.best_of if n > 1]
    untrained = [BASE, *(f"best-of-{n}" for n in sizes)]
    more = [arm.name for arm in analysis.arms] if analysis is not None else []
    return list(
        dict.fromkeys([*untrained, *(name for name in more if name not in results.methods), *results.methods])
    )


def statistic(analysis: Analysis | None, name: str, key: str) -> Estimate | None:
    """Return a statistic of a row: ``missing`` where its runs are; ``None`` where it has no such number."""
    arm: ArmSummary | None = None if analysis is None else analysis.arm(name)
    if arm is None:
        return MISSING
    return arm.statistics.get(key)


def spending(results: Results, reward: str, name: str) -> dict[str, str]:
    """Return what a run of the method spends, its seeds put together as everywhere; empty if untrained.

    It is empty too where no seed is complete.
    """
    ledgers = [record.ledger for record in results.counted(reward, name)] if name in results.methods else []
    keys = ("reward_queries", "gradient_queries", "flops", "device_seconds")
    if not ledgers:
        return dict.fromkeys(keys, "")
    return {key: number(spent(ledgers, key)) for key in keys}


def summary_frame(results: Results, analyses: dict[str, Analysis]) -> pd.DataFrame:
    """Return one row a reward and method, base model and best-of-N among them.

    A statistic has three columns: its name for the value, ``_low`` and ``_high`` for the limits of its
    95 % interval. ``aggregate`` says how seeds were put together; ``missing`` stands where a run is.
    """
    keys = {key for analysis in analyses.values() for arm in analysis.arms for key in arm.statistics}
    rows = [
        _row(results, analyses.get(reward), reward, name, columns(keys))
        for reward in results.experiment.rewards
        for name in arm_names(results, analyses.get(reward))
    ]
    return pd.DataFrame(rows)


def _row(
    results: Results, analysis: Analysis | None, reward: str, name: str, wanted: Sequence[Column]
) -> dict[str, str | int]:
    arm = None if analysis is None else analysis.arm(name)
    row: dict[str, str | int] = {
        "suite": results.suite,
        "reward": reward,
        "method": name,
        "seeds": 0 if arm is None else arm.seeds,
        "prompts": 0 if arm is None else arm.prompts,
        "aggregate": aggregate_name(arm.seeds) if arm is not None and arm.seeds else "",
        **spending(results, reward, name),
    }
    for column in wanted:
        found = statistic(analysis, name, column.key)
        value, low, high = ("", "", "") if found is None else cells(found, column.kind)
        row |= {column.key: value, f"{column.key}_low": low, f"{column.key}_high": high}
    return row | {"winner": "yes" if analysis is not None and analysis.winner == name else ""}


def pairs_frame(analyses: dict[str, Analysis]) -> pd.DataFrame:
    """Return one row a pair of methods, columns ``PAIR_COLUMNS``: difference, wins of seeds, p-values.

    ``ahead`` is the method that both interval and Holm's p put ahead, if they do, and ``smallest_difference``
    the one that would have been found with probability 0.8; with one seed there is none.
    """
    rows = [_pair_row(reward, pair) for reward, analysis in analyses.items() for pair in analysis.pairs]
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))


def _pair_row(reward: str, pair: MethodComparison) -> dict[str, str | float | None]:
    return {
        "reward": reward,
        "first": pair.first,
        "second": pair.second,
        "difference": pair.difference.value,
        "difference_low": pair.difference.low,
        "difference_high": pair.difference.high,
        "wins": pair.wins,
        "seeds": pair.seeds,
        "p_value": pair.p_value,
        "p_holm": pair.p_holm,
        "ahead": pair.ahead,
        "smallest_difference": pair.smallest,
    }


def overview_table(results: Results, analyses: dict[str, Analysis]) -> Table:
    """Return the held-out reward of every row under every reward, for reading."""
    column = columns(set())[0]
    rewards = results.experiment.rewards
    names = dict.fromkeys(name for r in rewards for name in arm_names(results, analyses.get(r)))
    rows = [[name, *(_text(analyses.get(r), name, column) for r in rewards)] for name in names]
    return Table("Held-out reward at equal queries", ["", *rewards], rows)


def statistics_tables(results: Results, analysis: Analysis) -> list[Table]:
    """Return the tables of a reward for reading; rows and columns without any entry are left out.

    Where no baseline was run there is no threshold, and no table about it.
    """
    keys = {key for arm in analysis.arms for key in arm.statistics}
    more = tuple(key for key in sorted(keys) if key.startswith("gain_") and key not in _KNOWN)
    groups = [(title, (*group, *more) if title == "Generalisation" else group) for title, group in _GROUPS]
    by_key = {column.key: column for column in columns(keys)}
    return [
        _table(results, analysis, title, [by_key[key] for key in group if key in by_key])
        for title, group in groups
        if analysis.best_baseline is not None or title != _THRESHOLD
    ]


def _table(results: Results, analysis: Analysis, title: str, wanted: Sequence[Column]) -> Table:
    names = arm_names(results, analysis)
    rows = {name: [_text(analysis, name, column) for column in wanted] for name in names}
    filled = [i for i in range(len(wanted)) if any(row[i] for row in rows.values())]
    return Table(
        title=title,
        head=["", *(wanted[i].title for i in filled)],
        rows=[[name, *(row[i] for i in filled)] for name, row in rows.items() if any(row)],
    )


def _text(analysis: Analysis | None, name: str, column: Column) -> str:
    found = statistic(analysis, name, column.key)
    return "" if found is None else estimate_text(found, column.kind)


def pairs_table(pairs: Sequence[MethodComparison]) -> Table:
    """Return the pairs for reading."""
    head = ["", "difference", "seeds won", "p", "p (Holm)", "ahead", "found with probability 0.8"]
    rows = [
        [
            f"{pair.first} - {pair.second}",
            estimate_text(pair.difference),
            f"{pair.wins:g} of {pair.seeds}",
            p_text(pair.p_value),
            p_text(pair.p_holm),
            pair.ahead or "neither",
            "" if pair.smallest is None else f"from {effect_text(pair.smallest)}",
        ]
        for pair in pairs
    ]
    return Table("Pairs of methods", head, rows)
