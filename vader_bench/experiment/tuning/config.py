"""What a tuning file may say: the settings to try of each method, and the rungs that all of them climb."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from vader_bench.config.experiment_file import experiment_path, searches, with_code
from vader_bench.config.paths import RecordedAsWritten, located
from vader_bench.config.rules import distinct
from vader_bench.config.schema import BudgetConfig, EvaluationConfig, MethodName, Name, Strict
from vader_bench.config.yamlfile import Fault, nearest, parse, raise_faults, read_mapping
from vader_bench.errors import UserError, shown

__all__ = ["RungConfig", "SearchConfig", "TuneConfig", "load_tune"]

_MOST_SETTINGS = 10_000
"""Of one method; grids multiply, and nobody means to run more."""


class RungConfig(Strict):
    """A round of trials, from which the best settings of each method and reward go on to the next."""

    reward_queries: int = Field(ge=2)
    """What every run may spend."""
    seeds: int = Field(default=1, ge=1)
    """Runs of each setting: with the file's ``seed`` and those that follow it."""
    keep: int | None = Field(default=None, ge=1)
    """How many settings of each method and reward go on. The last rung has no ``keep``: one is chosen."""


class SearchConfig(Strict):
    """What is tried of a method: all of ``grid`` and all ``points``."""

    method: MethodName | None = None
    """The method of a search that is not called after it, as an experiment's arm has it."""
    settings: dict[str, Any] = Field(default={})
    """Settings that all trials share."""
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default={})
    """Values to try by setting; every combination is tried."""
    points: list[dict[str, Any]] = Field(default=[])
    """Combinations to try, each by itself; all of them name the same settings."""
    extend: list[dict[str, Any]] = Field(default=[])
    """Combinations that are tried too, of all methods on a reward, where the choice of one method there is at
    an edge of what was tried, or ends below the base model, or where ``extend_on`` names the reward."""
    bounds: dict[str, list[Any]] = Field(default={})
    """Values of a setting beyond which there is nothing to try: a choice of one is at no edge."""

    @property
    def count(self) -> int:
        """Return how many settings are tried at first."""
        return (math.prod(map(len, self.grid.values())) if self.grid else 0) + len(self.points)

    def tried(self) -> list[dict[str, Any]]:
        """Return what is tried at first: the grid's combinations, the last key fastest, then the points."""
        combinations = itertools.product(*self.grid.values()) if self.grid else ()
        return [*(dict(zip(self.grid, values, strict=True)) for values in combinations), *self.points]


class TuneConfig(RecordedAsWritten, Strict):
    """What is tried of all methods, and what they share."""

    experiment: Name
    question: str
    suite: str
    """A packaged suite, or the path of a suite file, relative to this file."""
    rewards: Annotated[list[str], AfterValidator(distinct)] = Field(min_length=1)
    seed: int = Field(ge=0)
    """The first seed. No other experiment uses it, nor those after it that the rungs take."""
    budget: BudgetConfig | None = None
    """What every run may spend where there is one rung of one seed; a file has this or ``rungs``."""
    rungs: list[RungConfig] = Field(default=[])
    """Successive halving: all settings at the first rung, the best of each rung at the next."""
    extend_on: Annotated[list[str], AfterValidator(distinct)] = Field(default=[])
    """Rewards on which the settings under ``extend`` are tried whatever is chosen there. An experiment that
    compares methods of two tunings needs it where the other tuning tried more, so that effort is equal."""
    evaluation: EvaluationConfig
    methods: dict[Name, SearchConfig] = Field(min_length=1)
    """What is tried of each method, by its name or that of the search."""

    @property
    def needed_rewards(self) -> list[str]:
        """Return the rewards that runs train on or are judged by."""
        return list(dict.fromkeys([*self.rewards, *self.evaluation.measure.judges]))

    @property
    def ladder(self) -> list[RungConfig]:
        """Return the rungs; a ``budget`` is a single one."""
        return [RungConfig(reward_queries=self.budget.reward_queries)] if self.budget else self.rungs

    def entering(self, settings: int) -> list[int]:
        """Return how many of so many ``settings`` of a method are tried at each rung."""
        counts = [settings]
        for rung in self.ladder[:-1]:
            counts.append(min(counts[-1], rung.keep or counts[-1]))
        return counts

    def queries(self, settings: int) -> int:
        """Return how many queries so many ``settings`` of a method cost on one reward, over all rungs."""
        counts = zip(self.ladder, self.entering(settings), strict=True)
        return sum(count * rung.seeds * rung.reward_queries for rung, count in counts)


def load_tune(path: Path) -> TuneConfig:
    """Return the tuning file ``path``, or the one that comes with the package by its name.

    Raises:
        UserError: every fault of the file, one a line; methods have different numbers of settings; or it is
            an experiment.
    """
    path = experiment_path(path)
    data, faults = read_mapping(path)
    if "seeds" in data and not searches(data):
        raise UserError(str(path), "is an experiment, and no tuning", "give it to `vader-bench run`")
    if isinstance(suite := data.get("suite"), str):
        data["suite"] = located(suite, path.parent)
    data, written = with_code(data, path.parent)
    config, found = parse(TuneConfig, data)
    more = [*_unequal(config), *_extend_faults(config), *_rung_faults(config)] if config is not None else []
    raise_faults(str(path), [*faults, *found, *more])
    assert config is not None
    return config.with_written(written)


def _unequal(config: TuneConfig) -> Iterator[Fault]:
    """Yield what makes the effort of methods unequal, or is no setting to try."""
    counts = {method: search.count for method, search in config.methods.items()}
    for method, search in config.methods.items():
        key = f"methods.{method}"
        if search.count > _MOST_SETTINGS:
            wrong, remedy = f"makes {search.count} settings", f"make it {_MOST_SETTINGS} at most"
            yield Fault(f"{key}.grid", wrong, remedy)
        elif not search.count:
            yield Fault(key, "names nothing to try", "add `grid` or `points`")
        else:
            yield from _setting_faults(key, search)
    for what, numbers in (
        ("settings", counts),
        ("settings under `extend`", {name: len(search.extend) for name, search in config.methods.items()}),
    ):
        if len(set(numbers.values())) > 1:
            told = ", ".join(f"{method} {count}" for method, count in numbers.items())
            yield Fault("methods", f"get different numbers of {what} ({told})", "try as many of each")


def _setting_faults(key: str, search: SearchConfig) -> Iterator[Fault]:
    """Yield settings that are named twice, or that vary something else than the others do."""
    tried = search.tried()
    names = list(tried[0])
    for place, settings in (("points", search.points), ("extend", search.extend)):
        for index, setting in enumerate(settings):
            if setting.keys() != set(names):
                wrong = f"names {', '.join(setting) or 'nothing'}, where others name {', '.join(names)}"
                yield Fault(f"{key}.{place}.{index}", wrong, "name the same settings everywhere")
    seen: set[str] = set()
    for setting in [*tried, *search.extend]:
        said = json.dumps(setting, sort_keys=True)
        if said in seen:
            yield Fault(key, f"tries {said} twice", "name it once")
        seen.add(said)
    for name in search.bounds:
        if name not in names:
            yield Fault(f"{key}.bounds", f"names {shown(name)}, which is not varied", nearest(name, names))


def _extend_faults(config: TuneConfig) -> Iterator[Fault]:
    """Yield what ``extend_on`` asks for and there is not."""
    for reward in config.extend_on:
        if reward not in config.rewards:
            wrong = f"names {shown(reward)}, which is no reward of this tuning"
            yield Fault("extend_on", wrong, nearest(reward, config.rewards))
    if config.extend_on and not any(search.extend for search in config.methods.values()):
        yield Fault("extend_on", "has nothing to try", "add settings under `extend` of every method")


def _rung_faults(config: TuneConfig) -> Iterator[Fault]:
    if bool(config.budget) == bool(config.rungs):
        wrong = "stands beside `budget`" if config.rungs else "is missing"
        yield Fault("rungs", wrong, "write `rungs`, or `budget` for a single one")
        return
    ladder, settings = config.ladder, min(search.count for search in config.methods.values())
    for key, rung in _keys(config):
        if rung.reward_queries % config.evaluation.every:
            yield Fault(f"{key}.reward_queries", "is no multiple of evaluation.every", "make it one")
    if ladder[-1].keep is not None:
        yield Fault(f"rungs.{len(ladder) - 1}.keep", "is of the last rung, which chooses one", "delete it")
    entering = settings
    for index, (rung, after) in enumerate(pairwise(ladder)):
        if rung.keep is None or rung.keep >= entering:
            wrong = "is missing" if rung.keep is None else f"is {rung.keep}, and {entering} are tried"
            yield Fault(f"rungs.{index}.keep", wrong, "say how many settings go on, fewer than are tried")
            return
        if after.reward_queries <= rung.reward_queries:
            wrong = f"is {after.reward_queries}, no more than at the rung before"
            yield Fault(f"rungs.{index + 1}.reward_queries", wrong, "let budgets rise")
        entering = rung.keep


def _keys(config: TuneConfig) -> Sequence[tuple[str, RungConfig]]:
    if config.budget:
        return [("budget", config.ladder[0])]
    return [(f"rungs.{number}", rung) for number, rung in enumerate(config.rungs)]
