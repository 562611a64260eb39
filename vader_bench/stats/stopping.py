"""When to stop, without the truth: rules that choose a moment of a run, and how much of the gain each keeps.

A rule sees what a user without a gold reward sees. Numbers that a rule needs (a bound, a share) are chosen on
other runs than those that judge it. Nothing is trained: rules read looks at adapters that were kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy import stats

from vader_bench.records.record import Evaluation, Record
from vader_bench.stats.aggregate import FloatArray, ratio
from vader_bench.stats.bootstrap import LEVEL, Estimate, Resampler, Sampled
from vader_bench.stats.looks import looks_of, same_videos, scores_by_prompt, shared_videos

__all__ = ["RULES", "Choice", "Kind", "Moment", "Rule", "Stopped", "Trail", "choose", "judge", "trails"]

_MOST_NUMBERS = 40
"""So many values of a rule's number are tried; of more, as many that are evenly spread among them."""

Kind: TypeAlias = Literal["queries", "scale"]
"""What a rule chooses: after how many queries to stop, or by how much to scale the adapters of the end."""


@dataclass(frozen=True)
class Moment:
    """What a user sees of a run at one moment, without the truth."""

    at: float
    """Reward queries spent, or the scale of the adapters."""
    second: FloatArray | None
    """Held-out score by the second reward, [P]: the first of ``judges`` that the run does not train on."""
    path_kl: float | None
    diversity: float | None


@dataclass(frozen=True, eq=False)
class Trail:
    """The states of one run in order, the base model's first, and the truth, which judges alone may see."""

    reward: str
    method: str
    arm: str
    seed: int
    states: tuple[Moment, ...]
    prompts: tuple[str, ...]
    gold: FloatArray
    """Truth gain over the base model, [T, P]."""
    trained: int
    """The state of what was trained."""

    @property
    def best(self) -> int:
        """Return the state of the largest mean truth gain: no rule can know it."""
        return int(self.gold.mean(axis=-1).argmax())


@dataclass(frozen=True)
class Rule:
    """A way to choose a state of a run."""

    name: str
    pick: Callable[[Trail, float], int | None]
    """From a run and the rule's number to a state; ``None`` where what it needs was not measured. It never
    reads the truth."""
    numbers: Callable[[Trail], Sequence[float]] | None = None
    """What may be chosen for the number, as one run suggests it; ``None`` for a rule without a number."""


class Choice(NamedTuple):
    """What a rule chooses on one run."""

    trail: Trail
    number: float | None
    """The rule's, chosen on other runs; ``None`` where it has none."""
    state: int


class Stopped(NamedTuple):
    """What a rule does on runs that had no part in choosing its number."""

    numbers: tuple[float, ...]
    """Those chosen, distinct and in order; empty for a rule without one."""
    at: float
    """Mean of the queries, or of the scales, that it chooses."""
    kept: Estimate
    """Truth gain that is kept as a share of the best: 1 for one who knows the truth, below 0 where the truth
    ends below the base model's."""


def trails(records: Mapping[str, Sequence[Record]], kind: Kind) -> list[Trail]:
    """Return the runs of arms on one reward as rules see them; those without a truth are left out.

    Args:
        records: by arm.
        kind: along the queries; or along the scales of the adapters at the end, where the experiment asks for
            them and 0 and 1 are two of them.
    """
    found = [(arm, record, *_states(record, kind)) for arm, runs in records.items() for record in runs]
    made = [_trail(arm, record, kind, at, looks) for arm, record, at, looks in found if len(at) > 1]
    return [trail for trail in made if trail is not None]


def _states(record: Record, kind: Kind) -> tuple[list[float], list[Evaluation]]:
    """Return where each look stands, and the looks."""
    if kind == "queries":
        looks = looks_of(record)
        return [float(look.queries) for look in looks], looks
    points = sorted(record.frontier, key=lambda point: point.scale)
    if not {0.0, 1.0} <= {point.scale for point in points}:
        return [], []
    return [point.scale for point in points], [point.look for point in points]


def _trail(
    arm: str, record: Record, kind: Kind, at: Sequence[float], looks: Sequence[Evaluation]
) -> Trail | None:
    videos = shared_videos(looks)
    prompts, gold = scores_by_prompt(looks, lambda score: score.gold, videos)
    if gold is None:
        return None
    second = _second_reward(record)
    seconds = None
    if second is not None:
        seconds = scores_by_prompt(looks, lambda score: score.others.get(second), videos)[1]
    diversities = [look.diversity if same_videos(look, looks[0]) else None for look in looks]
    states = tuple(
        Moment(place, None if seconds is None else seconds[index], look.path_kl, diversity)
        for index, (place, look, diversity) in enumerate(zip(at, looks, diversities, strict=True))
    )
    trained = at.index(1.0) if kind == "scale" else len(states) - 1
    return Trail(record.reward, record.method, arm, record.seed, states, prompts, gold - gold[0], trained)


def _second_reward(record: Record) -> str | None:
    """Return the first judge of the experiment that ``record`` does not train on; files sort their scores."""
    judges = record.asked.evaluation.measure.judges
    return next((name for name in judges if name != record.reward), None)


def _last(trail: Trail, _: float) -> int:
    """Choose what was trained: the end, or the scale 1."""
    return trail.trained


def _best_second(trail: Trail, _: float) -> int | None:
    """Choose the state that a second reward scores highest."""
    found = _seconds(trail)
    return None if found is None else int(found.mean(axis=-1).argmax())


def _second_falls(trail: Trail, _: float) -> int | None:
    """Go on until a second reward is below its best by interval; then go back to that best.

    The interval is the paired one of Student's t over prompts, as one run has it.
    """
    found = _seconds(trail)
    if found is None or found.shape[-1] < 2:
        return None
    best = 0
    for now in range(1, len(found)):
        change = found[now] - found[best]
        half = stats.t.ppf((1 + LEVEL) / 2, len(change) - 1) * change.std(ddof=1) / np.sqrt(len(change))
        if change.mean() + half < 0:
            break
        best = now if change.mean() > 0 else best
    return best


def _within_kl(trail: Trail, bound: float) -> int | None:
    """Choose the last state before the path KL exceeds ``bound``, in nats."""
    found = [state.path_kl for state in trail.states]
    return None if None in found else _before([kl is not None and kl > bound for kl in found])


def _diverse(trail: Trail, share: float) -> int | None:
    """Choose the last state before diversity falls below ``share`` of the base model's."""
    found = [state.diversity for state in trail.states]
    if None in found or not found[0]:
        return None
    least = share * found[0]
    return _before([value is not None and value < least for value in found])


def _fixed(trail: Trail, at: float) -> int:
    """Choose the last state that is not beyond ``at``."""
    return _before([state.at > at for state in trail.states])


def _before(wrong: Sequence[bool]) -> int:
    """Return the last state before the first that is wrong."""
    return max(0, wrong.index(True) - 1) if True in wrong else len(wrong) - 1


def _seconds(trail: Trail) -> FloatArray | None:
    found = [state.second for state in trail.states if state.second is not None]
    return np.stack(found) if len(found) == len(trail.states) else None


RULES = (
    Rule("as trained", _last),
    Rule("second reward highest", _best_second),
    Rule("until the second reward falls", _second_falls),
    Rule(
        "path KL within a bound",
        _within_kl,
        lambda trail: [state.path_kl for state in trail.states if state.path_kl is not None],
    ),
    Rule("diversity above a share of the base's", _diverse, lambda _: [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0]),
    Rule("the same for every run", _fixed, lambda trail: [state.at for state in trail.states]),
)


def choose(rule: Rule, found: Sequence[Trail]) -> list[Choice]:
    """Return what ``rule`` chooses on each run of an experiment.

    Its number is the one that keeps most of the truth's gain on other runs than those it is used on: those on
    other rewards where there are any, since who has no truth for a reward can have tuned a rule on other
    rewards only; else those of other methods; else those of other seeds. Of equal numbers it is the smallest.

    Returns:
        The runs without those for which there are no other runs, and without those of which the rule's input
        was not measured.
    """
    made = []
    for fold in _folds(found):
        others = [trail for trail in found if trail not in fold]
        number = None if rule.numbers is None else _number(rule, others)
        if rule.numbers is not None and number is None:
            continue
        picked = [(trail, rule.pick(trail, np.nan if number is None else number)) for trail in fold]
        made += [Choice(trail, number, state) for trail, state in picked if state is not None]
    return made


def judge(choices: Sequence[Choice]) -> Stopped:
    """Return what a rule keeps of the truth's gain on runs on one reward, of one method or of several.

    The share is the sum of gains kept over the sum of best gains. Its interval is the paired bootstrap over
    seeds and prompts, with the states as they were chosen. Each run's best state is the best on the very
    videos that judge, so that noise makes it look better, and every share a little too small.

    Args:
        choices: at least one; those on the same runs as everything that they are compared with.
    """
    numbers = {choice.number for choice in choices if choice.number is not None}
    at = float(np.mean([choice.trail.states[choice.state].at for choice in choices]))
    return Stopped(tuple(sorted(numbers)), at, _share(choices))


def _folds(found: Sequence[Trail]) -> list[list[Trail]]:
    """Return the runs in groups of one reward; of one method where there is one reward; else of one seed."""
    groupings: tuple[Callable[[Trail], object], ...] = (
        lambda trail: trail.reward,
        lambda trail: trail.method,
        lambda trail: trail.seed,
    )
    for key in groupings:
        groups = [
            [trail for trail in found if key(trail) == value] for value in dict.fromkeys(map(key, found))
        ]
        if len(groups) > 1:
            return groups
    return [list(found)]


def _number(rule: Rule, others: Sequence[Trail]) -> float | None:
    """Return the number with which ``rule`` keeps most on ``others``; ``None`` where there is none."""
    assert rule.numbers is not None
    numbers = sorted({number for trail in others for number in rule.numbers(trail)})
    if len(numbers) > _MOST_NUMBERS:
        numbers = [numbers[round(i)] for i in np.linspace(0, len(numbers) - 1, _MOST_NUMBERS)]
    shares = {number: _mean_share(rule, number, others) for number in numbers}
    known = {number: share for number, share in shares.items() if share is not None}
    return max(known, key=lambda number: known[number], default=None)


def _mean_share(rule: Rule, number: float, found: Sequence[Trail]) -> float | None:
    """Return the share of the best truth gain that is kept, a mean over rewards; their units differ."""
    sums: dict[str, list[float]] = {}
    for trail in found:
        state = rule.pick(trail, number)
        if state is None:
            return None
        gains = trail.gold.mean(axis=-1)
        total = sums.setdefault(trail.reward, [0.0, 0.0])
        total[0] += float(gains[state])
        total[1] += float(gains[trail.best])
    shares = [kept / best for kept, best in sums.values() if best > 0]
    return float(np.mean(shares)) if shares else None


def _share(choices: Sequence[Choice]) -> Estimate:
    """Return the share kept; undefined where the best gain is not above zero by interval.

    Over seeds it is a plain sum: a mean without the extremes would leave out the runs that a rule ruins.
    """
    arms: dict[str, dict[int, Choice]] = {}
    for choice in choices:
        arms.setdefault(choice.trail.arm, {})[choice.trail.seed] = choice
    seeds = sorted(set.intersection(*(set(arm) for arm in arms.values())))
    if not seeds:
        return Estimate.none("missing")
    grid = [[arm[seed] for seed in seeds] for arm in arms.values()]
    kept = [[choice.trail.gold[choice.state] for choice in arm] for arm in grid]
    best = [[choice.trail.gold[choice.trail.best] for choice in arm] for arm in grid]
    gains = np.asarray([kept, best]).mean(axis=1)  # [2, S, P]
    drawn = Resampler(seeds).runs(_plain_mean, gains, choices[0].trail.prompts, np.zeros(gains.shape[:-1]))
    if not drawn[1].estimate().above_zero:
        return Estimate.none("undefined")
    return Sampled.of(ratio, drawn[0], drawn[1]).estimate()


def _plain_mean(gains: FloatArray, _: FloatArray) -> FloatArray:
    """Return the means over seeds, [..., K, S] to [..., K]."""
    return np.asarray(gains.mean(axis=-1))
