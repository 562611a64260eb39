"""Rules that stop without the truth, and what they keep of it: tables, sentences and a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from vader_bench.report.load import Results
from vader_bench.report.tables import Table
from vader_bench.report.words import cells, estimate_text, number, significant
from vader_bench.stats import RULES, Choice, Estimate, Kind, Stopped, choose, judge, trails

__all__ = ["Stopping", "read_stopping"]

ALL = "all"
_KINDS: dict[Kind, str] = {
    "queries": "Share of the best truth gain that stopping keeps",
    "scale": "Share of the best truth gain that scaling the adapters of the end keeps",
}
_AS_TRAINED = RULES[0].name


@dataclass(frozen=True)
class Stopping:
    """What every rule does on every method and on all of them, with numbers chosen on other runs."""

    found: dict[tuple[Kind, str, str], dict[str, Stopped]]
    """By kind, reward and rule, then by method and ``all``."""

    def tables(self, reward: str) -> list[Table]:
        """Return a table of the rules that stop and one of those that scale."""
        made = (self._table(kind, reward) for kind in _KINDS)
        return [table for table in made if table.rows]

    def findings(self, reward: str) -> list[str]:
        """Return what the rules that stop keep, in one sentence."""
        rules = {rule: found[ALL] for rule, found in self._rules("queries", reward) if ALL in found}
        end = rules.pop(_AS_TRAINED).kept if _AS_TRAINED in rules else Estimate.none("missing")
        if end.absent == "undefined":
            return ["When to stop: no share can be said; the best truth gain is not above zero by interval."]
        if end.absent or not rules:
            return []
        kept = f"When to stop: of the best truth gain the end of training keeps {estimate_text(end)}"
        best = max(rules, key=lambda rule: rules[rule].kept.value)
        if rules[best].kept.value <= end.value:
            return [f"{kept}, and no rule that needs no truth keeps more."]
        most = estimate_text(rules[best].kept)
        return [
            f"{kept}. Of the rules that need none, '{best}' keeps most, {most}; it was not named beforehand."
        ]

    def frame(self) -> pd.DataFrame:
        """Return one row a kind, reward, rule and method."""
        rows = []
        for (kind, reward, rule), by_method in self.found.items():
            for method, stopped in by_method.items():
                value, low, high = cells(stopped.kept, "reward")
                row = {"chooses": kind, "reward": reward, "rule": rule, "method": method}
                row |= {"numbers": " ".join(map(number, stopped.numbers)), "at": number(stopped.at)}
                rows.append(row | {"kept": value, "kept_low": low, "kept_high": high})
        return pd.DataFrame(rows)

    def _rules(self, kind: Kind, reward: str) -> Iterator[tuple[str, Mapping[str, Stopped]]]:
        for (one, name, rule), found in self.found.items():
            if (one, name) == (kind, reward):
                yield rule, found

    def _table(self, kind: Kind, reward: str) -> Table:
        rows = list(self._rules(kind, reward))
        methods = list(dict.fromkeys(method for _, found in rows for method in found))
        at = "mean queries" if kind == "queries" else "mean scale"
        head = ["", "its number", at, *methods]
        return Table(
            _KINDS[kind],
            head,
            [
                [
                    rule,
                    ", ".join(significant(value, 3) for value in found[ALL].numbers),
                    significant(found[ALL].at, 3),
                    *(estimate_text(found[name].kept) if name in found else "" for name in methods),
                ]
                for rule, found in rows
            ],
        )


def read_stopping(results: Results) -> Stopping | None:
    """Return what rules keep on all rewards; ``None`` where the path KL, which one of them needs, is unknown.

    Rules that need what was not measured are left out.
    """
    families = results.families()
    arms = [arm for found in families.values() for arm in found]
    if not any(record.has_path_kl for record in results.records.values()):
        return None
    found: dict[tuple[Kind, str, str], dict[str, Stopped]] = {}
    for kind in _KINDS:
        runs = [
            trail
            for reward in results.experiment.rewards
            for trail in trails({arm: results.counted(reward, arm) for arm in arms}, kind)
        ]
        for rule in RULES:
            for reward, chosen in _by_reward(choose(rule, runs)).items():
                groups = {ALL: chosen} | {
                    method: own
                    for method, members in families.items()
                    if (own := [choice for choice in chosen if choice.trail.arm in members])
                }
                if len(groups) == 2:  # all are of one method
                    groups = {ALL: chosen}
                found[kind, reward, rule.name] = {name: judge(own) for name, own in groups.items()}
    return Stopping(found) if found else None


def _by_reward(choices: list[Choice]) -> dict[str, list[Choice]]:
    found: dict[str, list[Choice]] = {}
    for choice in choices:
        found.setdefault(choice.trail.reward, []).append(choice)
    return found
