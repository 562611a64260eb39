"""The runs that an experiment asks for: its grid of arms, rewards and seeds, resolved."""

from __future__ import annotations

from vader_bench.config.names import ADAPTER, BASE, UNTRAINED
from vader_bench.config.schema import RunConfig
from vader_bench.config.settings import Settings
from vader_bench.experiment.arms import ArmConfig
from vader_bench.experiment.fairness import check_fair
from vader_bench.experiment.load import LoadedExperiment
from vader_bench.methods.code import run_plugins

__all__ = ["expand"]


def expand(experiment: LoadedExperiment, with_base: bool = True) -> list[RunConfig]:
    """Return the runs of ``experiment``: by reward the base model, then by seed, reward and arm.

    Nothing of adapters that are not trained here depends on a seed: they have the first one.

    Args:
        experiment: what is asked.
        with_base: also ask for one run a reward of the base model, with the first seed and no budget.

    Raises:
        UserError: its arms differ in more than it compares.
    """
    config, suite = experiment.config, experiment.suite
    rewards, seeds = config.rewards, config.seeds
    base = ArmConfig(BASE, BASE, dict.fromkeys(rewards, Settings()), suite)

    def run(arm: ArmConfig, reward: str, seed: int) -> RunConfig:
        asked = RunConfig(
            experiment=config.experiment,
            suite=arm.suite,
            method=arm.method,
            arm="" if arm.name == arm.method else arm.name,
            settings=arm.settings[reward],
            reward=reward,
            prompts=suite.prompts_for(reward),
            seed=seed,
            reward_queries=0 if arm.method in UNTRAINED else config.budget.reward_queries,
            evaluation=config.evaluation,
        )
        return asked.model_copy(update={"code": run_plugins(asked)})

    runs = [run(base, reward, seeds[0]) for reward in rewards] if with_base else []
    runs += [
        run(arm, reward, seed)
        for seed in seeds
        for reward in rewards
        for arm in experiment.arms
        if seed == seeds[0] or arm.method != ADAPTER
    ]
    check_fair(runs, config.compares)
    return runs
