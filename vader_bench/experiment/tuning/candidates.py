"""The settings that a tuning tries, each as the runs that it would be at a rung."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vader_bench.config.schema import RunConfig, SuiteConfig
from vader_bench.config.yamlfile import raise_faults
from vader_bench.errors import UserError
from vader_bench.experiment.arms import ArmConfig, read_settings, unknown_rewards
from vader_bench.experiment.checks import prompt_set_faults, suite_faults
from vader_bench.experiment.fairness import SHARED_SETTINGS
from vader_bench.experiment.fits import component_faults, fit_faults
from vader_bench.experiment.job import Job
from vader_bench.experiment.rounds import cut_rounds
from vader_bench.experiment.tuning.config import RungConfig, TuneConfig
from vader_bench.methods.code import run_plugins
from vader_bench.prompts.sets import DEVELOPMENT

__all__ = ["Arm", "Candidate", "Trial", "check_candidates", "find_candidates"]

Arm = tuple[str, str]
"""A reward, and a method or what its search is called."""


@dataclass(frozen=True)
class Candidate:
    """A setting of a method on one reward."""

    number: int
    """From 1, within the method and reward; those under ``extend`` come last."""
    varied: dict[str, Any]
    extension: bool
    """Whether it is tried only where the choice of a method is at an edge."""
    config: RunConfig
    """Its run with the first seed at the first rung."""

    @property
    def arm(self) -> Arm:
        """Return which choice it takes part in."""
        return self.config.reward, self.config.label

    def trial(self, number: int, rung: RungConfig) -> Trial:
        """Return what is tried of it at ``rung``, the ``number``-th, from 1."""
        runs = [
            self.config.model_copy(
                update={"seed": self.config.seed + more, "reward_queries": rung.reward_queries}
            )
            for more in range(rung.seeds)
        ]
        return Trial(self, number, tuple(runs))


@dataclass(frozen=True)
class Trial:
    """A setting at one rung: a run for each of its seeds."""

    candidate: Candidate
    rung: int
    """From 1."""
    runs: tuple[RunConfig, ...]

    @property
    def queries(self) -> int:
        """Return the budget of each run."""
        return self.runs[0].reward_queries

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds of the runs."""
        return tuple(run.seed for run in self.runs)

    def jobs(self, folder: Path) -> list[Job]:
        """Return the runs as jobs, given the folder of the experiment."""
        reward, label = self.candidate.arm
        name = f"{label}-{reward}-trial{self.candidate.number}-rung{self.rung}"
        return [Job(run, folder / "runs" / f"{name}-seed{run.seed}") for run in self.runs]


def find_candidates(config: TuneConfig, suite: SuiteConfig) -> list[Candidate]:
    """Return all settings to try: by reward, then method, then as the file has them, ``extend`` last.

    They train on the development prompts of the suite's sets and are judged on other ones of them.

    Raises:
        UserError: unknown reward, prompt set or method, or settings that do not fit; looks cut a method's
            rounds; methods differ in a setting that they have to share.
    """
    if config.paths:
        suite = suite.with_written({**suite.paths, **config.paths})
    given = f"tuning {config.experiment}"
    unknown = unknown_rewards("rewards", config.rewards, suite)
    unknown += unknown_rewards("evaluation.measure.judges", config.evaluation.measure.judges, suite)
    raise_faults(given, [*suite_faults(suite), *unknown])
    sets = [suite.prompts_for(reward) + DEVELOPMENT for reward in config.rewards]
    missing = prompt_set_faults(sets, lambda: config.evaluation)
    raise_faults(given, [*component_faults(suite, config.needed_rewards), *missing])
    found = [
        candidate
        for reward in config.rewards
        for name in config.methods
        for candidate in _of_method(config, suite, name, reward)
    ]
    rounds = [(one.config.label, one.config.reward, one.config.settings.round_queries) for one in found]
    raise_faults(given, cut_rounds(config.evaluation.every, rounds))
    for name in SHARED_SETTINGS:
        values = {getattr(candidate.config.settings, name, None) for candidate in found}
        if len(values) > 1:
            raise UserError(given, f"tries several values of {name}", "give every method the same value")
    return found


def check_candidates(config: TuneConfig, candidates: Sequence[Candidate]) -> None:
    """Refuse a tuning of which some runs would fail; see ``fit_faults``.

    Raises:
        UserError: all that does not fit, one a line.
    """
    runs = [candidate.config for candidate in candidates]
    arms = [ArmConfig(run.label, run.method, {run.reward: run.settings}, run.suite) for run in runs]
    prompts = {run.reward: run.prompts for run in runs}
    raise_faults(f"tuning {config.experiment}", fit_faults(runs[0].suite, arms, prompts, config.evaluation))


def _of_method(config: TuneConfig, suite: SuiteConfig, name: str, reward: str) -> Iterator[Candidate]:
    search = config.methods[name]
    tried = search.tried()
    for number, varied in enumerate([*tried, *search.extend], start=1):
        run = _run(config, suite, name, reward, varied)
        yield Candidate(number, varied, number > len(tried), run)


def _run(config: TuneConfig, suite: SuiteConfig, name: str, reward: str, varied: dict[str, Any]) -> RunConfig:
    search = config.methods[name]
    method = search.method or name
    run = RunConfig(
        experiment=config.experiment,
        suite=suite,
        method=method,
        arm="" if name == method else name,
        settings=read_settings(method, search.settings | varied, reward, suite),
        reward=reward,
        prompts=suite.prompts_for(reward) + DEVELOPMENT,
        seed=config.seed,
        reward_queries=config.ladder[0].reward_queries,
        evaluation=config.evaluation,
    )
    return run.model_copy(update={"code": run_plugins(run)})
