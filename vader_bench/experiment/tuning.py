"""Equal tuning: every method gets the same number of trials with the same budget, on prompts of its own."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, Field

from vader_bench import files
from vader_bench.config.names import BASE, HELDOUT
from vader_bench.config.paths import is_file, located
from vader_bench.config.rules import distinct
from vader_bench.config.schema import (
    BudgetConfig,
    EvaluationConfig,
    ExperimentConfig,
    Name,
    RunConfig,
    Strict,
    SuiteConfig,
)
from vader_bench.config.yamlfile import Fault, parse, raise_faults, read_mapping
from vader_bench.errors import ExitCode, UserError
from vader_bench.experiment.arms import read_settings
from vader_bench.experiment.checks import suite_faults
from vader_bench.experiment.fairness import SHARED_SETTINGS
from vader_bench.experiment.job import Job
from vader_bench.prompts.sets import DEVELOPMENT
from vader_bench.records.folder import RunFolder
from vader_bench.records.record import Evaluation

__all__ = [
    "CHOICE_NAME", "TRIALS_NAME", "SearchConfig", "Trial", "TuneConfig", "check_tuning", "load_tune",
    "make_trials", "write_choice",
]  # fmt: skip

CHOICE_NAME = "choice.yaml"
TRIALS_NAME = "trials.csv"
_MOST_TRIALS = 10_000
"""Of one method and reward; grids multiply, and nobody means to run more."""


class SearchConfig(Strict):
    """What is tried for a method."""

    settings: dict[str, Any] = Field(default={})
    """Settings that all trials share."""
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(min_length=1)
    """Values to try by setting; every combination is a trial."""

    @property
    def count(self) -> int:
        """Return how many trials there are."""
        return math.prod(map(len, self.grid.values()))

    def trials(self) -> list[dict[str, Any]]:
        """Return the settings that each trial varies, the last key fastest."""
        return [
            dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())
        ]


class TuneConfig(Strict):
    """The grids of all methods and what they share."""

    experiment: Name
    question: str
    suite: str
    """A packaged suite, or the path of a suite file, relative to this file."""
    rewards: Annotated[list[str], AfterValidator(distinct)] = Field(min_length=1)
    seed: int = Field(ge=0)
    """A seed that no other experiment uses."""
    budget: BudgetConfig
    """What every trial may spend."""
    evaluation: EvaluationConfig
    methods: dict[Name, SearchConfig] = Field(min_length=1)


class _Choice(BaseModel):
    """What ``choice.yaml`` says, as far as it is read."""

    version: Literal[1]
    choice: dict[str, dict[str, dict[str, Any]]]
    """The chosen settings by reward and method."""


@dataclass(frozen=True)
class Trial:
    """One point of a grid."""

    number: int
    """From 1, within the method and reward."""
    varied: dict[str, Any]
    config: RunConfig

    @property
    def name(self) -> str:
        """Return the name of the trial's folder."""
        return f"{self.config.method}-{self.config.reward}-trial{self.number}"

    def job(self, folder: Path) -> Job:
        """Return the trial as a job, given the folder of the experiment."""
        return Job(self.config, folder / "runs" / self.name)


def load_tune(path: Path) -> TuneConfig:
    """Return the tuning file ``path``.

    Raises:
        UserError: every fault of the file, one a line; methods have different numbers of trials.
    """
    data, faults = read_mapping(path)
    if isinstance(suite := data.get("suite"), str):
        data["suite"] = located(suite, path.parent)
    config, found = parse(TuneConfig, data)
    more = list(_unequal(config)) if config is not None else []
    raise_faults(str(path), [*faults, *found, *more])
    assert config is not None
    return config


def make_trials(config: TuneConfig, suite: SuiteConfig) -> list[Trial]:
    """Return all trials: by reward, then method, then point of the grid.

    They train on the development prompts of the suite's sets and are judged on other ones of them.

    Raises:
        UserError: unknown reward or method, or settings that do not fit; methods differ in a setting
            that they have to share.
    """
    raise_faults(f"tuning {config.experiment}", [*suite_faults(suite), *_unknown(config, suite)])
    trials = [
        _trial(config, suite, method, reward, number, varied)
        for reward in config.rewards
        for method, search in config.methods.items()
        for number, varied in enumerate(search.trials(), start=1)
    ]
    raise_faults(f"tuning {config.experiment}", _cut_rounds(trials))
    for name in SHARED_SETTINGS:
        values = {getattr(trial.config.settings, name, None) for trial in trials}
        if len(values) > 1:
            remedy = "give every method the same value"
            raise UserError(f"tuning {config.experiment}", f"tries several values of {name}", remedy)
    return trials


def write_choice(config: TuneConfig, suite: SuiteConfig, trials: Sequence[Trial], folder: Path) -> Path:
    """Write ``trials.csv`` and ``choice.yaml`` to ``folder`` and return the path of the choice.

    Chosen is, for each method and reward, the trial with the highest mean reward over the held-out
    development prompts at the end of its budget; the first of equals.
    """
    scored = [(trial, _outcome(trial, folder)) for trial in trials]
    chosen: dict[tuple[str, str], Trial] = {}
    for key, group in itertools.groupby(scored, key=lambda item: _arm(item[0])):
        chosen[key] = max(group, key=lambda item: item[1]["heldout_reward"])[0]
    table = _trials_csv(scored, set(map(id, chosen.values())))
    files.write_text(folder / TRIALS_NAME, table)
    choice: dict[str, Any] = {
        "version": 1,
        "suite": suite.suite,
        "seed": config.seed,
        "trials_per_method": len(trials) // len(chosen),
        "reward_queries_per_trial": config.budget.reward_queries,
        "trials_sha256": files.sha256_text(table),
        "choice": _nested(chosen),
    }
    choice["sha256"] = _digest(choice)
    files.write_text(folder / CHOICE_NAME, yaml.safe_dump(choice, sort_keys=False, width=110))
    return folder / CHOICE_NAME


def check_tuning(experiment: ExperimentConfig, path: Path, runs: Sequence[RunConfig]) -> None:
    """Refuse an experiment whose settings are not those of the tuning result that it names.

    Args:
        experiment: names the result in ``tuning``.
        path: that result's ``choice.yaml``.
        runs: the experiment's runs, resolved.

    Raises:
        UserError: the result is missing or was changed by hand, or every setting that differs, one a line.
    """
    choice = _load_choice(path)
    faults = []
    arms = {(run.label, run.reward): run for run in reversed(runs) if run.method != BASE}
    for (arm, reward), run in reversed(arms.items()):
        method, wanted = run.method, choice.get(reward, {}).get(run.method)
        if wanted is None:
            wrong = f"on {reward}: {method} was not tuned in {path}"
            faults.append(Fault(f"methods.{arm}", wrong, "tune it, or take `tuning` out"))
            continue
        asked = run.settings.model_dump(mode="json")
        for name, value in wanted.items():
            if name not in experiment.compares and asked.get(name) != value:
                key = f"methods.{arm}.by_reward.{reward}.{name}"
                wrong = f"is {asked.get(name)!r}, and {value!r} was chosen"
                faults.append(Fault(key, wrong, f"write {value!r}"))
    raise_faults(f"experiment {experiment.experiment}", faults)


def _unequal(config: TuneConfig) -> Iterator[Fault]:
    counts = {method: search.count for method, search in config.methods.items()}
    for method, count in counts.items():
        if count > _MOST_TRIALS:
            yield Fault(f"methods.{method}.grid", f"makes {count} trials", f"make it {_MOST_TRIALS} at most")
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{method} {count}" for method, count in counts.items())
        yield Fault("methods", f"get different numbers of trials ({told})", "make the grids equally large")
    if config.budget.reward_queries % config.evaluation.every:
        yield Fault("budget.reward_queries", "is no multiple of evaluation.every", "make it one")


def _unknown(config: TuneConfig, suite: SuiteConfig) -> Iterator[Fault]:
    for reward in config.rewards:
        if reward not in suite.rewards:
            known = ", ".join(suite.rewards)
            yield Fault(
                "rewards", f"names {reward!r}, which is not in {suite.suite}", f"choose one of: {known}"
            )


def _cut_rounds(trials: Sequence[Trial]) -> Iterator[Fault]:
    """Yield a fault for each method and size of rounds that looks would cut."""
    rounds = {(trial.config.method, trial.config.settings.round_queries) for trial in trials}
    for method, queries in sorted(rounds):
        every = trials[0].config.evaluation.every
        if every % queries:
            wrong = f"is {every}, which cuts rounds of {queries} queries of {method}"
            yield Fault("evaluation.every", wrong, f"choose a multiple of {queries}")


def _trial(
    config: TuneConfig, suite: SuiteConfig, method: str, reward: str, number: int, varied: dict[str, Any]
) -> Trial:
    run = RunConfig(
        experiment=config.experiment,
        suite=suite,
        method=method,
        settings=read_settings(method, config.methods[method].settings | varied, reward, suite),
        reward=reward,
        prompts=suite.prompts_for(reward) + DEVELOPMENT,
        seed=config.seed,
        reward_queries=config.budget.reward_queries,
        evaluation=config.evaluation,
    )
    return Trial(number, varied, run)


def _arm(trial: Trial) -> tuple[str, str]:
    return trial.config.reward, trial.config.method


def _outcome(trial: Trial, folder: Path) -> dict[str, float]:
    """Return mean rewards of a finished trial: at the end by split, and held-out before training."""
    record = RunFolder(trial.job(folder).folder).load_record()
    last = record.ledger["reward_queries"]
    ends = {e.split: _mean(e) for e in record.evaluations if e.queries == last}
    base = next(_mean(e) for e in record.evaluations if e.queries == 0 and e.split == HELDOUT)
    rewards = {f"{split}_reward": value for split, value in ends.items()}
    return {**rewards, "base_heldout_reward": base, "device_seconds": record.ledger["device_seconds"]}


def _mean(evaluation: Evaluation) -> float:
    return fmean(score.reward for score in evaluation.scores)


def _trials_csv(scored: Sequence[tuple[Trial, Mapping[str, float]]], chosen: set[int]) -> str:
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    measures = list(scored[0][1])
    head = ["suite", "reward", "method", "trial", "settings", "seed", "queries", *measures, "chosen"]
    writer.writerow(head)
    for trial, outcome in scored:
        run = trial.config
        known = [run.suite.suite, run.reward, run.method, trial.number, json.dumps(trial.varied)]
        values = [f"{outcome[name]:.6g}" for name in measures]
        mark = "yes" if id(trial) in chosen else ""
        writer.writerow([*known, run.seed, run.reward_queries, *values, mark])
    return stream.getvalue()


def _nested(chosen: Mapping[tuple[str, str], Trial]) -> dict[str, dict[str, dict[str, Any]]]:
    nested: dict[str, dict[str, dict[str, Any]]] = {}
    for (reward, method), trial in chosen.items():
        nested.setdefault(reward, {})[method] = trial.varied
    return nested


def _digest(choice: Mapping[str, Any]) -> str:
    return files.sha256_text(files.canonical_json({k: v for k, v in choice.items() if k != "sha256"}))


def _load_choice(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the chosen settings by reward and method."""
    if not is_file(path):
        remedy = "run `vader-bench tune experiments/tune.yaml`, or take `tuning` out of the experiment"
        raise UserError(f"tuning {path}", "does not exist", remedy, exit_code=ExitCode.MISSING)
    data, faults = read_mapping(path)
    raise_faults(str(path), faults)
    found, _ = parse(_Choice, data)
    if found is None or data.get("sha256") != _digest(data):
        wrong = "is not as the tuning wrote it"
        raise UserError(f"tuning {path}", wrong, "restore the file, or tune again")
    return found.choice
