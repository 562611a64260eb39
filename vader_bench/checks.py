"""What a configuration must fulfil beyond its types: that all it names exists, and that it is fair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vader_bench.data.prompts import load_prompts
from vader_bench.errors import UserError
from vader_bench.yamlfile import Fault, nearest, parse, raise_faults

if TYPE_CHECKING:
    from vader_bench.config import RunConfig, SuiteConfig
    from vader_bench.methods.base import MethodConfig

__all__ = ["SHARED_SETTINGS", "check_fair", "experiment_faults", "resolved_settings"]

SHARED_SETTINGS = ("lora_rank",)
"""Settings in which the methods of an experiment may not differ: what is trained is the same for all."""
BY_REWARD = "by_reward"
"""Key of a method's settings that holds its overrides by reward."""


def experiment_faults(data: Mapping[str, Any], suite: SuiteConfig) -> list[Fault | UserError]:
    """Return what is wrong with an experiment beyond its types.

    Args:
        data: the experiment's fields. They may have wrong types, which are passed over here.
        suite: the suite it runs on.
    """
    rewards = [name for name in _list(data.get("rewards")) if isinstance(name, str)]
    faults: list[Fault | UserError] = [*_suite_faults(suite)]
    for name in rewards:
        if name not in suite.rewards:
            wrong = f"names {name!r}, which is no reward of suite {suite.suite}"
            faults.append(Fault("rewards", wrong, nearest(name, suite.rewards)))
    known = [name for name in rewards if name in suite.rewards]
    for method, settings in _table(data.get("methods")).items():
        faults += _method_faults(method, settings, known, suite)
    faults += _budget_faults(data)
    faults += _prompt_faults(data, suite, known)
    return faults


def resolved_settings(method: str, settings: Mapping[str, Any], reward: str) -> dict[str, Any]:
    """Return all settings of ``method`` for ``reward``: defaults, the experiment's, its overrides by reward.

    Raises:
        UserError: unknown method, or settings that do not fit it, one fault a line.
    """
    config, faults = parse(_methods()[method], _for_reward(settings, reward))
    raise_faults(f"settings of {method} for {reward}", faults)
    assert config is not None
    return config.model_dump(mode="json")


def check_fair(runs: Sequence[RunConfig]) -> None:
    """Refuse runs that differ in anything but the method with its settings, the reward and the seed.

    All runs must have the same experiment, suite (backbone, sampler), budget and evaluation; all runs on
    one reward the same prompts; all methods the same seeds on each reward and the same settings that
    ``SHARED_SETTINGS`` names. The base model spends nothing and has one seed.

    Raises:
        UserError: every difference, one a line.
    """
    raise_faults("not a fair comparison", _unfair(runs))


def _unfair(runs: Sequence[RunConfig]) -> Iterator[Fault]:
    trained = [run for run in runs if run.method != "base"]
    for field in ("experiment", "suite", "evaluation"):
        yield from _differences(runs, field, [getattr(run, field) for run in runs])
    yield from _differences(trained, "budget", [run.reward_queries for run in trained])
    for name in SHARED_SETTINGS:
        yield from _differences(trained, name, [run.settings.get(name) for run in trained])
    for reward in dict.fromkeys(run.reward for run in runs):
        judged = [run for run in runs if run.reward == reward]
        yield from _differences(judged, "prompts", [run.prompts for run in judged])
        yield from _arm_faults([run for run in judged if run.method != "base"])
    for run in runs:
        if run.method == "base" and run.reward_queries:
            yield Fault(run.name, f"has a budget of {run.reward_queries}", "the base model is not trained")


def _arm_faults(judged: Sequence[RunConfig]) -> Iterator[Fault]:
    """Yield what differs between methods, or between seeds of one, among the runs on one reward."""
    arms: dict[str, list[RunConfig]] = {}
    for run in judged:
        arms.setdefault(run.method, []).append(run)
    leads = [arm[0] for arm in arms.values()]
    yield from _differences(leads, "seeds", [sorted(run.seed for run in arm) for arm in arms.values()])
    for arm in arms.values():
        yield from _differences(arm, "settings", [run.settings for run in arm])


def _differences(runs: Sequence[RunConfig], what: str, values: Sequence[Any]) -> Iterator[Fault]:
    """Yield a fault for the first run whose value is not that of the first run."""
    for run, value in zip(runs, values, strict=True):
        if value != values[0]:
            wrong = f"differs from {runs[0].name} in {what}"
            yield Fault(run.name, wrong, f"give all arms the same {what}; only the method may differ")
            return


def _suite_faults(suite: SuiteConfig) -> Iterator[Fault]:
    backbones, rewards = _families()
    named = {f"rewards.{name}": (component, rewards) for name, component in suite.rewards.items()}
    named["backbone"] = (suite.backbone, backbones)
    if suite.gold is not None:
        named["gold"] = (suite.gold, rewards)
    for key, (component, registry) in named.items():
        if component.family not in registry:
            wrong = f"of suite {suite.suite} has the unknown family {component.family!r}"
            yield Fault(key, wrong, nearest(component.family, registry))


def _method_faults(method: str, settings: Any, rewards: Iterable[str], suite: SuiteConfig) -> Iterator[Fault]:
    key = f"methods.{method}"
    if method == "base":
        yield Fault(key, "is not to be listed", "delete it: the base model is always among the arms")
        return
    if method not in _methods():
        yield Fault(key, "is not a known method", nearest(method, _methods()))
        return
    if not isinstance(settings, dict):
        return  # told with the types
    overrides = settings.get(BY_REWARD, {})
    if not isinstance(overrides, dict) or not all(isinstance(o, dict) for o in overrides.values()):
        yield Fault(f"{key}.{BY_REWARD}", "is no table of settings by reward", "indent them below a reward")
        return
    for reward in overrides:
        if reward not in suite.rewards:
            wrong = f"is no reward of suite {suite.suite}"
            yield Fault(f"{key}.{BY_REWARD}.{reward}", wrong, nearest(reward, suite.rewards))
    for reward in dict.fromkeys([*rewards, *overrides]):
        _, faults = parse(_methods()[method], _for_reward(settings, reward))
        for fault in faults:
            own = fault.key.split(".")[0] in overrides.get(reward, {})
            place = f"{key}.{BY_REWARD}.{reward}" if own else key
            yield fault._replace(key=f"{place}.{fault.key}" if fault.key else place)


def _for_reward(settings: Mapping[str, Any], reward: str) -> dict[str, Any]:
    plain = {key: value for key, value in settings.items() if key != BY_REWARD}
    overrides: dict[str, Any] = settings.get(BY_REWARD, {}).get(reward, {})
    return plain | overrides


def _budget_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    queries = _table(data.get("budget")).get("reward_queries")
    every = _table(data.get("evaluation")).get("every")
    if isinstance(queries, int) and isinstance(every, int) and every > 0 and queries % every:
        wrong = f"is {queries}, which is no multiple of evaluation.every ({every})"
        nearby = max(1, round(queries / every)) * every
        yield Fault("budget.reward_queries", wrong, f"make it {nearby}, so that the last look is at the end")


def _prompt_faults(
    data: Mapping[str, Any], suite: SuiteConfig, rewards: Sequence[str]
) -> Iterator[Fault | UserError]:
    evaluation = _table(data.get("evaluation"))
    for name in dict.fromkeys(suite.prompts_for(reward) for reward in rewards):
        try:
            prompts = load_prompts(name)
        except UserError as error:
            yield error
            continue
        if "train" not in prompts.splits:
            yield Fault("suite", f"has the prompt set {name} without a split 'train'", "add that split")
        for key in ("splits", "final_splits"):
            for split in _list(evaluation.get(key)):
                if split not in prompts.splits:
                    wrong = f"names {split!r}, which is no split of prompt set {name}"
                    yield Fault(f"evaluation.{key}", wrong, nearest(str(split), prompts.splits))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _methods() -> dict[str, type[MethodConfig]]:
    """Return the config of each registered method; imported late, since methods need torch."""
    from vader_bench.methods import METHODS

    return {name: METHODS.get(name).Config for name in METHODS.names()}


def _families() -> tuple[list[str], list[str]]:
    """Return the registered families of backbones and of rewards; imported late, since they need torch."""
    from vader_bench.backbones import BACKBONES
    from vader_bench.rewards import REWARDS

    return BACKBONES.names(), REWARDS.names()
