"""The headline numbers of one reward, with intervals: what the summary, the figure and the page show."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from vader_bench.config.names import BASE, HELDOUT
from vader_bench.stats.aggregate import (
    FloatArray,
    area_under_curve,
    first_reach,
    ratio,
    speed_up,
    value_at,
)
from vader_bench.stats.bootstrap import Estimate, Resampler, Sampled
from vader_bench.stats.compare import MethodComparison, compare_pairs, find_winner, smallest_found
from vader_bench.stats.panel import AXES, MEASURED, BaseScores, Measured, Panel

__all__ = ["Analysis", "ArmSummary", "Band", "Target", "analyse"]

_NOT_TRAINED = Estimate.none("not trained")


@dataclass(frozen=True)
class ArmSummary:
    """One row of the summary: a method, adapters from a file, the base model, or best-of-N of it."""

    name: str
    seeds: int
    """0 where nothing is trained."""
    prompts: int
    statistics: dict[str, Estimate]


@dataclass(frozen=True)
class Band:
    """A method's curve over the looks, [T] each."""

    spent: dict[str, FloatArray]
    """Aggregated over seeds, by axis."""
    value: FloatArray
    low: FloatArray
    """Where the interval of the gain over the untrained model ends, drawn around the curve. The interval of
    the reward itself would show how prompts differ, which is the same for every method."""
    high: FloatArray
    runs: FloatArray
    """[S, T]: every seed by itself."""
    runs_spent: dict[str, FloatArray]
    """[S, T] by axis."""


class Target(NamedTuple):
    """What one arm had reached after some of its budget: every arm is timed to reach it."""

    arm: str
    queries: int


@dataclass(frozen=True)
class Analysis:
    """All that is said about one reward."""

    panel: Panel
    arms: list[ArmSummary]
    """Base, best-of-N, then the methods and adapters in the experiment's order."""
    bands: dict[str, Band]
    gold_bands: dict[str, Band]
    """The same of the reward's truth; empty where it was not measured at every look."""
    gold_gains: dict[str, list[Estimate]]
    """By method, that truth above the base model's after each look but the first; empty as above."""
    pairs: list[MethodComparison]
    winner: str | None
    best_baseline: str | None
    """The highest of those that end above the base model by interval; where none does, the highest."""
    passed_over: list[str]
    """Baselines that end higher than that one, but not above the base model by interval."""
    cuts: dict[str, float]
    """The largest amount that every trained method has spent, by axis."""
    target: Target | None

    @property
    def untrained(self) -> list[ArmSummary]:
        """Return the rows of the base model and of best-of-N."""
        return [arm for arm in self.arms if arm.name not in self.panel.methods]

    @property
    def adapters(self) -> list[ArmSummary]:
        """Return the rows of adapters that were not trained here."""
        return [arm for arm in self.arms if arm.name in self.panel.methods and arm.seeds == 0]

    def arm(self, name: str) -> ArmSummary | None:
        """Return the row called ``name``, if there is one."""
        return next((arm for arm in self.arms if arm.name == name), None)


def analyse(
    panel: Panel, target: Target | None = None, *, resamples: int | None = None, root: int = 0
) -> Analysis:
    """Return every headline number of ``panel``.

    Args:
        panel: runs on one reward.
        target: what arms are timed to reach, beside the best baseline's final reward.
        resamples: bootstrap resamples; see ``Resampler``.
        root: root seed of the bootstrap.
    """
    return _Analyst(panel, target, Resampler(panel.seeds, resamples=resamples, root=root)).analysis()


class _Analyst:
    """Holds one panel's resampled arrays while its statistics are read off them."""

    def __init__(self, panel: Panel, target: Target | None, resampler: Resampler) -> None:
        self.panel = panel
        self.target = target
        self.resampler = resampler
        self.curve = resampler.seeds_and_prompts(panel.curve, panel.prompts)
        gold = panel.gold_curve
        self.gold_curve = None if gold is None else resampler.seeds_and_prompts(gold, panel.prompts)
        self.spent = {axis: self._spent(axis) for axis in AXES}
        self.trained = [index for index, fixed in enumerate(panel.adapters) if not fixed]
        self.cuts = {axis: float(spent.point[self.trained, -1].min()) for axis, spent in self.spent.items()}
        self.ends = {
            name: resampler.seeds_and_prompts(split.reward, split.prompts)
            for name, split in panel.splits.items()
        }
        self.final = panel.splits[HELDOUT]

    def analysis(self) -> Analysis:
        """Return everything."""
        methods = [self._method(index) for index in range(len(self.panel.methods))]
        pairs = compare_pairs(self.panel, self.resampler)
        # what adapters have cost is not known: no winner at an equal budget
        gains = {arm.name: arm.statistics["gain"] for arm in methods if arm.seeds}
        trained = [pair for pair in pairs if pair.first in gains and pair.second in gains]
        best, names = self.best_baseline, self.panel.methods
        return Analysis(
            panel=self.panel,
            arms=[*self._untrained(), *methods],
            bands=self._bands(self.curve, self.panel.curve),
            gold_bands=self._gold_bands(),
            gold_gains=self._gold_gains(),
            pairs=pairs,
            winner=find_winner(trained, gains, len(self.panel.seeds)),
            best_baseline=None if best is None else names[best],
            passed_over=[names[one] for one in itertools.takewhile(lambda one: one != best, self.baselines)],
            cuts=self.cuts,
            target=self.target,
        )

    @cached_property
    def best_baseline(self) -> int | None:
        """Index of the best baseline; chosen once, on the data.

        One that ends higher by luck, and not above the base model by interval, would leave no threshold.
        """
        return next(filter(self._ends_above, self.baselines), next(iter(self.baselines), None))

    @cached_property
    def baselines(self) -> list[int]:
        """Indices of the baselines, that with the highest final reward first."""
        found = [index for index, counts in enumerate(self.panel.baselines) if counts]
        return sorted(found, key=lambda index: -float(self.curve.point[index, -1]))

    def _ends_above(self, index: int) -> bool:
        """Return whether a method ends above the base model by interval."""
        return (self.curve[index, -1] - self.curve[index, 0]).estimate().above_zero

    def _spent(self, axis: str) -> Sampled:
        """Return [M, T], kept from falling along the curve, which rescaled resamples could do."""
        spent = self.resampler.amounts(self.panel.spent[axis])
        return Sampled.of(lambda x: np.maximum.accumulate(x, axis=-1), spent)

    def _method(self, index: int) -> ArmSummary:
        held = self.ends[HELDOUT][index]
        seeds = len(self.panel.seeds) if index in self.trained else 0
        gains = {name: (ends[index, 1] - ends[index, 0]) for name, ends in self.ends.items()}
        statistics = {
            "heldout_reward": held[1].estimate(),
            "gain": gains[HELDOUT].estimate(),
            "smallest_gain": _findable(gains[HELDOUT], seeds),
            "area": Sampled.of(lambda y: area_under_curve(self.panel.looks, y), self.curve[index]).estimate(),
            **{f"reward_at_equal_{axis}": self._at_cut(index, axis) for axis in AXES if axis != "queries"},
            **self._threshold(index),
            **self._to_target(index),
            **{f"gain_{name}": gain.estimate() for name, gain in gains.items() if name != HELDOUT},
            "heldout_over_train": _transfer(gains) if index in self.trained else _NOT_TRAINED,
            **self._beside("gold", self.final.gold, index),
            **self._beside("prompt_share", self.final.prompt_share, index),
            "diversity": self._diversity(index),
            "margin_over_best_of": self._margin(index),
        }
        return ArmSummary(
            name=self.panel.methods[index],
            seeds=seeds,
            prompts=len(self.final.prompts),
            statistics=statistics,
        )

    def _at_cut(self, index: int, axis: str) -> Estimate:
        cut = self.cuts[axis]
        x, y = self.spent[axis][index], self.curve[index]
        return Sampled.of(lambda spent, reward: value_at(spent, reward, cut), x, y).estimate()

    def _threshold(self, index: int) -> dict[str, Estimate]:
        """Return the best baseline's final reward, and the amounts and speed-ups until it is reached."""
        keys = [f"{axis}_{what}" for axis in AXES for what in ("to_threshold", "speed_up")]
        best = self.best_baseline
        if best is None:
            return dict.fromkeys(["threshold", *keys], Estimate.none("no baseline"))
        level = self.curve[best, -1]
        found = {"threshold": level.estimate()}
        if index not in self.trained:
            return found | dict.fromkeys(keys, _NOT_TRAINED)
        if not self._ends_above(best):
            return found | dict.fromkeys(keys, Estimate.none("undefined"))
        for axis in AXES:
            x = self.spent[axis]
            total = x[best, -1]
            amount = total if index == best else Sampled.of(first_reach, x[index], self.curve[index], level)
            found[f"{axis}_to_threshold"] = amount.estimate()
            found[f"{axis}_speed_up"] = Sampled.of(speed_up, total, amount).estimate()
        return found

    def _to_target(self, index: int) -> dict[str, Estimate]:
        """Return what the arm spends until it reaches the target, as a multiple of what that arm spent."""
        if self.target is None:
            return {}
        arm, queries = self.target
        keys = [f"{axis}_to_target" for axis in AXES]
        if index not in self.trained:
            return dict.fromkeys(keys, _NOT_TRAINED)
        if arm not in self.panel.methods:
            return dict.fromkeys(keys, Estimate.none("missing"))
        lead, look = self.panel.methods.index(arm), self.panel.looks.tolist().index(queries)
        level = self.curve[lead, look]
        if not (level - self.curve[lead, 0]).estimate().above_zero:
            return dict.fromkeys(keys, Estimate.none("undefined"))
        found = {}
        for axis, key in zip(AXES, keys, strict=True):
            spent = self.spent[axis]
            amount = Sampled.of(first_reach, spent[index], self.curve[index], level)
            found[key] = Sampled.of(np.divide, amount, spent[lead, look]).estimate()
        return found

    def _beside(self, name: str, measured: FloatArray | None, index: int) -> dict[str, Estimate]:
        """Return the final level and the gain of what is measured beside the reward."""
        if measured is None:
            return dict.fromkeys((name, f"{name}_gain"), Estimate.none("not measured"))
        ends = self.resampler.seeds_and_prompts(measured[index], self.final.prompts)
        return {name: ends[1].estimate(), f"{name}_gain": (ends[1] - ends[0]).estimate()}

    def _diversity(self, index: int) -> Estimate:
        if self.panel.diversity is None:
            return Estimate.none("not measured")
        if len(self.panel.seeds) == 1 or index not in self.trained:
            value = float(self.panel.diversity[index, 0])
            return Estimate(value, np.nan, np.nan)
        return self.resampler.seeds(self.panel.diversity[index]).estimate()

    def _margin(self, index: int) -> Estimate:
        """Return the final reward minus best-of-N of the base model for the largest N."""
        base = self.panel.base
        if base is None:
            return Estimate.none("missing")
        if not base.best_of:
            return Estimate.none("not measured")
        best = self._best_of(base, max(base.best_of), "reward")
        assert best is not None  # every video has a reward
        return (self.ends[HELDOUT][index, 1] - best).estimate()

    def _start(self, what: Measured) -> Sampled | None:
        """Return what the untrained model has on the videos of the curve."""
        at_ends: FloatArray | None = getattr(self.final, what)
        if at_ends is None:
            return None
        return self.resampler.seeds_and_prompts(at_ends[0, 0], self.final.prompts)

    def _best_of(self, base: BaseScores, count: int, what: Measured) -> Sampled | None:
        """Return what best-of-N has: the untrained model's on the curve and what choosing adds to it.

        More samples than the curve's tell what choosing adds; added to the curve's own start, best-of-1
        is the base model, and not the mean of other videos.
        """
        start, added = self._start(what), base.added_by_best(count, what)
        if start is None or added is None:
            return None
        return Sampled.of(np.add, start, self.resampler.prompts(added, base.prompts))

    def _untrained(self) -> list[ArmSummary]:
        """Return the base model, measured on the videos it shares with the methods, and best-of-N."""
        base, prompts = self.panel.base, len(self.final.prompts)
        statistics = _measured({what: self._start(what) for what in MEASURED})
        if base is None:
            return [ArmSummary(BASE, 0, prompts, statistics)]
        if base.diversity is not None:
            statistics["diversity"] = Estimate(base.diversity, np.nan, np.nan)
        arms = [ArmSummary(BASE, 0, prompts, statistics)]
        for count in base.best_of:
            best = {what: self._best_of(base, count, what) for what in MEASURED}
            arms.append(ArmSummary(f"best-of-{count}", 0, prompts, _measured(best)))
        return arms

    def _gold_bands(self) -> dict[str, Band]:
        if self.gold_curve is None or self.panel.gold_curve is None:
            return {}
        return self._bands(self.gold_curve, self.panel.gold_curve)

    def _gold_gains(self) -> dict[str, list[Estimate]]:
        if self.gold_curve is None:
            return {}
        curves = {name: self.gold_curve[index] for index, name in enumerate(self.panel.methods)}
        return {
            name: [(curve[look] - curve[0]).estimate() for look in range(1, len(self.panel.looks))]
            for name, curve in curves.items()
        }

    def _bands(self, curves: Sampled, scores: FloatArray) -> dict[str, Band]:
        """Return the bands of ``curves`` [M, T], made of ``scores`` [M, T, S, P], by method."""
        return {
            name: self._band(index, curves, scores[index]) for index, name in enumerate(self.panel.methods)
        }

    def _band(self, index: int, curves: Sampled, scores: FloatArray) -> Band:
        curve = curves[index]
        start = curve if index in self.trained else curves[self.trained[0]]  # the base model's
        gain = Sampled.of(lambda reward, before: reward - before[..., :1], curve, start)
        low, high = (start.point[0] + bound for bound in gain.bounds())
        return Band(
            spent={axis: spent.point[index] for axis, spent in self.spent.items()},
            value=curve.point,
            low=low,
            high=high,
            runs=scores.mean(axis=-1).T,
            runs_spent={axis: self.panel.spent[axis][index].T for axis in AXES},
        )


def _findable(gain: Sampled, seeds: int) -> Estimate:
    """Return the gain that would have been found; see ``smallest_found``."""
    size = smallest_found(gain, seeds)
    if size is None and seeds > 1:
        return Estimate.none("no spread")
    if size is None:
        return Estimate.none("one seed") if seeds else _NOT_TRAINED
    return Estimate(size, np.nan, np.nan)


def _measured(found: dict[Measured, Sampled | None]) -> dict[str, Estimate]:
    """Return the estimates of what was measured, by the name of its statistic."""
    names = {"reward": "heldout_reward"}
    return {
        names.get(what, what): sampled.estimate() for what, sampled in found.items() if sampled is not None
    }


def _transfer(gains: dict[str, Sampled]) -> Estimate:
    """Return held-out gain divided by train gain; undefined unless the train gain is above zero."""
    train = gains.get("train")
    if train is None:
        return Estimate.none("not measured")
    if not train.estimate().above_zero:
        return Estimate.none("undefined")
    return Sampled.of(ratio, gains[HELDOUT], train).estimate()
