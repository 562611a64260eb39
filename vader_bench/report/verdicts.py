"""What the numbers of one reward allow to be said, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from vader_bench.report.words import (
    NOT_REACHED,
    Kind,
    arms_listed,
    effect_text,
    estimate_text,
    listed,
    p_text,
    quantity,
)
from vader_bench.stats import Analysis, ArmSummary, Estimate, MethodComparison
from vader_bench.stats.compare import POWER

__all__ = ["verdicts"]

_MEASURES = (
    ("gold_gain", "The truth that the reward imitates", ", a sign of a hacked reward"),
    ("prompt_share_gain", "The share of the prompt that the oracle sees", ""),
)
"""What is measured beside the reward: its statistic, its words, and what a fall means if the reward rises."""
_OWN_TRUTH = "The reward is a formula and its own truth, so that no truth is measured beside it."


_Families: TypeAlias = Mapping[str, Sequence[str]]


def verdicts(
    analysis: Analysis, asked: Sequence[str], families: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """Return the findings on one reward, the comparison of methods first.

    Args:
        analysis: the statistics.
        asked: the methods of the experiment; those without results are named as missing.
        families: its arms by method, where a method may have several, as ``Results.families`` has them.
    """
    families = families or {}
    arms = [arm for name in analysis.panel.methods if (arm := analysis.arm(name)) is not None]
    trained = [arm for arm in arms if arm.seeds]
    lines = [_comparison(analysis, trained), *(_adapters(analysis, arm.name) for arm in analysis.adapters)]
    lines += [_over_base(arms, families), _findable(analysis, trained)]
    lines.append(_threshold(analysis, trained, families))
    measures = _MEASURES[1:] if analysis.panel.own_truth else _MEASURES
    lines += [_target(analysis, trained, families), _OWN_TRUTH if analysis.panel.own_truth else ""]
    lines += [_beside(arms, families, *measure) for measure in measures]
    if not analysis.panel.own_truth:
        lines += [_parted(analysis, arm) for arm in arms]
    lines.append(_best_of(analysis, arms, families))
    missing = [name for name in asked if name not in analysis.panel.methods]
    if missing:
        lines.append(f"Missing: {listed(missing)}.")
    return [line for line in lines if line]


def _comparison(analysis: Analysis, arms: list[ArmSummary]) -> str:
    queries = int(analysis.panel.looks[-1])
    ranked = sorted(arms, key=lambda arm: arm.statistics["heldout_reward"].value, reverse=True)
    top = ranked[0]
    reward = estimate_text(top.statistics["heldout_reward"])
    if len(arms) < 2:
        what = "no other training" if analysis.adapters else "nothing"
        return f"Only {top.name} has results ({reward}); {what} is compared."
    if len(analysis.panel.seeds) == 1:
        return (
            "One seed: the intervals cover prompts only and say nothing about another training run, so no "
            f"winner is named. In this run {_highest(ranked)} at {queries} reward queries."
        )
    if analysis.winner is None:
        return f"No winner at {queries} reward queries{_undecided(analysis, ranked)}."
    second = ranked[1]
    pair = next(p for p in analysis.pairs if {p.first, p.second} == {top.name, second.name})
    return (
        f"{top.name} is ahead at {queries} reward queries: held-out reward {reward}, "
        f"{estimate_text(pair.margin(top.name))} above {second.name}, the next best, by interval and after "
        f"Holm's correction (p {_p(pair.p_holm)})."
    )


def _adapters(analysis: Analysis, name: str) -> str:
    """Say where adapters that were not trained here stand among all arms."""
    pairs = [pair for pair in analysis.pairs if name in {pair.first, pair.second}]
    others = [pair.second if pair.first == name else pair.first for pair in pairs]
    found: dict[str, list[str]] = {"above": [], "below": [], "not distinguished from": []}
    for pair, other in zip(pairs, others, strict=True):
        if pair.ahead is None:
            found["not distinguished from"].append(f"{other}{_smallest('difference', pair.smallest)}")
        else:
            found["above" if pair.ahead == name else "below"].append(other)
    told = "; ".join(f"{place} {listed(names)}" for place, names in found.items() if names)
    what = f"{name} was not trained here, and what it has cost is in none of the budgets"
    if len(analysis.panel.seeds) == 1 or not told:
        return f"{what}."  # another training run of the others might stand elsewhere
    return f"{what}: by interval and after Holm's correction it is {told}."


def _highest(ranked: list[ArmSummary]) -> str:
    values = [arm.statistics["heldout_reward"].value for arm in ranked]
    if values[0] == values[1]:
        return "the highest methods ended equal"
    return f"{ranked[0].name} ended highest ({estimate_text(ranked[0].statistics['heldout_reward'])})"


def _undecided(analysis: Analysis, ranked: list[ArmSummary]) -> str:
    """Say which arms the highest is not shown to be ahead of: by interval, and by Holm's correction alone."""
    top = ranked[0].name
    names = {arm.name for arm in ranked}
    pairs = [p for p in analysis.pairs if {p.first, p.second} <= names and top in {p.first, p.second}]
    pairs = [pair for pair in pairs if pair.ahead != top]
    if not pairs:
        return f": {top} is ahead of the other methods but not above the base model by interval"
    by_interval = [_open(pair, top, "") for pair in pairs if not pair.margin(top).above_zero]
    by_holm = [_open(pair, top, f", p {_p(pair.p_holm)}") for pair in pairs if pair.margin(top).above_zero]
    told, it = "", top
    if by_interval:
        told, it = f". By interval {top} is not distinguished from {listed(by_interval)}", "it"
    if by_holm:
        told += f". After Holm's correction over {len(analysis.pairs)} pairs {it} is not distinguished from "
        told += listed(by_holm)
    parts = ["the difference with its uncorrected 95 % interval"]
    parts += ["the corrected p-value"] if by_holm else []
    if any(pair.smallest is not None for pair in pairs):
        parts.append(f"the size from which on a difference would be found with probability {POWER}")
    return f"{told}. In brackets: {listed(parts)}"


def _open(pair: MethodComparison, top: str, p_holm: str) -> str:
    """Name the other arm of the pair, with how far ``top`` is above it."""
    other = pair.second if pair.first == top else pair.first
    found = "" if pair.smallest is None else f", found from {effect_text(pair.smallest)}"
    return f"{other} ({estimate_text(pair.margin(top))}{p_holm}{found})"


def _smallest(what: str, size: float | None) -> str:
    """Say which size of an effect would have been found."""
    if size is None:
        return ""
    return f" (a {what} of {effect_text(size)} would be found with probability {POWER})"


def _p(p_value: float) -> str:
    text = p_text(p_value)
    return text if text.startswith("<") else f"= {text}"


def _over_base(arms: list[ArmSummary], families: _Families) -> str:
    above = [arm.name for arm in arms if arm.statistics["gain"].above_zero]
    below = [arm.name for arm in arms if arm.statistics["gain"].below_zero]
    level = [f"{arm.name}{_smallest('gain', _size(arm))}" for arm in arms if arm.name not in above + below]
    sides = (("above", above), ("below", below))
    parts = [f"{side} it: {arms_listed(names, families)}" for side, names in sides if names]
    parts.append(f"not distinguished from it: {listed(level)}" if level else "")
    return f"Against the base model on held-out prompts, by interval, {'; '.join(p for p in parts if p)}."


def _findable(analysis: Analysis, arms: list[ArmSummary]) -> str:
    """Say which gain these seeds and prompts could find, beside what choosing among samples gains."""
    sizes = [f"{effect_text(size)} with {arm.name}" for arm in arms if (size := _size(arm)) is not None]
    if not sizes:
        return ""
    seeds, prompts = len(analysis.panel.seeds), arms[0].prompts
    line = (
        f"{seeds} seeds and {prompts} prompts find a gain over the base model with probability {POWER} if it "
        f"is {listed(sizes)}"
    )
    base, *chosen = analysis.untrained
    if not chosen:
        return f"{line}."
    gained = chosen[-1].statistics["heldout_reward"].value - base.statistics["heldout_reward"].value
    return f"{line}; {chosen[-1].name} of the base model gains {effect_text(gained)}."


def _size(arm: ArmSummary) -> float | None:
    found = arm.statistics["smallest_gain"]
    return None if found.absent else found.value


def _threshold(analysis: Analysis, arms: list[ArmSummary], families: _Families) -> str:
    best = analysis.best_baseline
    others = [arm for arm in arms if arm.name != best]
    if best is None or not others:
        return ""
    if others[0].statistics["queries_speed_up"].absent:
        return (
            f"The best baseline, {best}, does not end above the base model by interval: there is no "
            "threshold to reach."
        )
    behind = [arm.name for arm in others if _is_never(arm.statistics["queries_speed_up"], "times")]
    lines = []
    if ahead := analysis.passed_over:
        end, do = ("ends", "does") if len(ahead) == 1 else ("end", "do")
        lines.append(
            f"{best} is the best baseline, since {listed(ahead)}, which {end} higher, {do} not end above the "
            "base model by interval."
        )
    goal = f"the final reward of {best}{'' if ahead else ', the best baseline'}"
    lines += [_reached(analysis, arm, goal) for arm in others if arm.name not in behind]
    return " ".join([*lines, *_never(behind, goal, families)])


def _reached(analysis: Analysis, arm: ArmSummary, goal: str) -> str:
    needed, ratio = arm.statistics["queries_to_threshold"], arm.statistics["queries_speed_up"]
    return (
        f"{arm.name} reaches {goal}, after {estimate_text(needed, 'queries')} queries, "
        f"{estimate_text(ratio, 'times')} fewer{_straight(analysis, needed.value)}."
    )


def _is_never(amount: Estimate, kind: Kind) -> bool:
    return quantity(amount.value, kind) == NOT_REACHED


def _never(names: list[str], goal: str, families: _Families) -> list[str]:
    """Return one sentence about all arms that do not reach the goal, where there are such."""
    do = "does" if len(names) == 1 else "do"
    return [f"{arms_listed(names, families)} {do} not reach {goal}."] if names else []


def _straight(analysis: Analysis, queries: float) -> str:
    """Say that amounts which lie before the first look are read off a straight line to it."""
    first = analysis.panel.looks[1]
    if queries >= first:
        return ""
    return f"; both are read off a straight line to its first look, at {first:g} queries"


def _target(analysis: Analysis, arms: list[ArmSummary], families: _Families) -> str:
    """Say what the other arms need to get where the target's arm had got."""
    if analysis.target is None:
        return ""
    lead, queries = analysis.target
    others = [arm for arm in arms if arm.name != lead]
    reached = f"what {lead} had reached after {queries} queries"
    absent = others[0].statistics["queries_to_target"].absent if others else ""
    if absent == "undefined":
        return f"There is no target: {lead} was not above the base model by interval after {queries} queries."
    if absent:
        return f"There is no target: {lead}, which is to set it, has no results."
    behind = [arm.name for arm in others if _is_never(arm.statistics["queries_to_target"], "multiple")]
    lines = [_needs(analysis, arm, queries, reached) for arm in others if arm.name not in behind]
    return " ".join([*lines, *_never(behind, reached, families)])


def _needs(analysis: Analysis, arm: ArmSummary, target: int, reached: str) -> str:
    queries, time = (arm.statistics[f"{axis}_to_target"] for axis in ("queries", "device_seconds"))
    return (
        f"{arm.name} needs {estimate_text(queries, 'multiple')} the queries and "
        f"{estimate_text(time, 'multiple')} the device time to reach {reached}"
        f"{_straight(analysis, queries.value * target)}."
    )


def _beside(arms: list[ArmSummary], families: _Families, key: str, what: str, sign: str) -> str:
    """Say with which arms a measure that no method trains on rose and fell, and which are hacked."""
    measured = [arm for arm in arms if not arm.statistics[key].absent]
    fell = [arm for arm in measured if arm.statistics[key].below_zero]
    rose = [arm.name for arm in measured if arm.statistics[key].above_zero]
    if not measured:
        return ""
    parts = [f"rose with {arms_listed(rose, families)}" if rose else "rose with no method"]
    if fell:
        parts.append(f"fell with {listed([_change(arm, key) for arm in fell])}")
    line = f"{what}, which no method trains on, {' and '.join(parts)}, by interval."
    hacked = [arm.name for arm in fell if arm.statistics["gain"].above_zero]
    if not hacked:
        return line
    return f"{line} The reward rose meanwhile with {arms_listed(hacked, families)}{sign}."


def _change(arm: ArmSummary, key: str) -> str:
    return f"{arm.name} ({estimate_text(arm.statistics[key])})"


def _parted(analysis: Analysis, arm: ArmSummary) -> str:
    """Say where along the budget the truth had risen, of an arm that does not end with a risen truth."""
    gains = dict(zip(analysis.panel.looks.tolist()[1:], analysis.gold_gains.get(arm.name, []), strict=False))
    risen = {int(queries): gain for queries, gain in gains.items() if gain.above_zero}
    if not risen or arm.statistics["gold_gain"].above_zero:
        return ""
    most = max(risen, key=lambda queries: risen[queries].value)
    return (
        f"Along the budget the truth had risen with {arm.name}, by interval at each look by itself, after "
        f"{listed(list(map(str, risen)))} queries, by {estimate_text(risen[most])} after {most}; it does not "
        "end above the base model by interval."
    )


def _best_of(analysis: Analysis, arms: list[ArmSummary], families: _Families) -> str:
    base = analysis.panel.base
    if base is None or not base.best_of:
        return ""
    above = [arm.name for arm in arms if arm.statistics["margin_over_best_of"].above_zero]
    told = arms_listed(above, families) or "no method"
    return f"Above best-of-{max(base.best_of)} of the base model, by interval: {told}."
