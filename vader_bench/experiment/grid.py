"""The runs that an experiment asks for: its grid of arms, rewards and seeds, resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vader_bench.config.arms import Arm, read_arm
from vader_bench.config.schema import ExperimentConfig, RunConfig, SuiteConfig
from vader_bench.config.yamlfile import parse, raise_faults
from vader_bench.experiment.checks import experiment_faults, resolved_settings
from vader_bench.experiment.fairness import check_fair
from vader_bench.experiment.load import merged

__all__ = ["changed_suite", "expand"]


def expand(experiment: ExperimentConfig, suite: SuiteConfig, with_base: bool = True) -> list[RunConfig]:
    """Return the runs of ``experiment``: by reward the base model, then by seed, reward and method.

    Args:
        experiment: what is asked.
        suite: the loaded suite of the experiment.
        with_base: also ask for one run a reward of the base model, with the first seed and no budget.

    Raises:
        UserError: the experiment does not fit the suite, or its arms differ in more than it compares.
    """
    given = f"experiment {experiment.experiment}"
    raise_faults(given, experiment_faults(experiment.model_dump(), suite))

    def run(label: str, reward: str, seed: int) -> RunConfig:
        base = label == "base"
        arm = Arm("base", {}, {}) if base else read_arm(label, experiment.methods[label])
        return RunConfig(
            experiment=experiment.experiment,
            suite=changed_suite(suite, arm.suite) if arm.suite else suite,
            method=arm.method,
            arm="" if label == arm.method else label,
            settings={} if base else resolved_settings(arm.method, arm.settings, reward, suite),
            reward=reward,
            prompts=suite.prompts_for(reward),
            seed=seed,
            reward_queries=0 if base else experiment.budget.reward_queries,
            evaluation=experiment.evaluation,
        )

    rewards, seeds = experiment.rewards, experiment.seeds
    runs = [run("base", reward, seeds[0]) for reward in rewards] if with_base else []
    runs += [run(arm, reward, seed) for seed in seeds for reward in rewards for arm in experiment.methods]
    check_fair(runs, experiment.compares)
    return runs


def changed_suite(suite: SuiteConfig, changes: Mapping[str, Any]) -> SuiteConfig:
    """Return ``suite`` with the fields that an arm replaces; tables are merged.

    Raises:
        UserError: every fault of the result, one a line.
    """
    changed, faults = parse(SuiteConfig, merged(suite.model_dump(), changes))
    raise_faults(f"suite {suite.suite}", faults)
    assert changed is not None
    return changed
