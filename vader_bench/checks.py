"""What a configuration must fulfil beyond its types: that all it names exists, and that it is fair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vader_bench.arms import BY_REWARD, METHOD, SUITE, for_reward, read_arm
from vader_bench.data.prompts import load_prompts
from vader_bench.errors import UserError
from vader_bench.yamlfile import Fault, nearest, parse, raise_faults

if TYPE_CHECKING:
    from vader_bench.methods.base import MethodConfig
    from vader_bench.schema import RunConfig, SuiteConfig

__all__ = ["SHARED_SETTINGS", "check_fair", "experiment_faults", "resolved_settings"]

SHARED_SETTINGS = ("lora_rank",)
"""Settings in which the methods of an experiment may not differ: what is trained is the same for all."""
CHANGEABLE = ("decode_frames", "memory")
"""What an arm can change in the suite: how the training is done, not what is asked."""


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
    for name, entry in _table(data.get("methods")).items():
        faults += _arm_faults(name, entry, known, suite)
    faults += _compares_faults(data)
    faults += _judge_faults(data, suite)
    faults += _target_faults(data)
    faults += _budget_faults(data)
    faults += _prompt_faults(data, suite, known)
    return faults


def resolved_settings(
    method: str, settings: Mapping[str, Any], reward: str, suite: SuiteConfig | None = None
) -> dict[str, Any]:
    """Return all settings of ``method`` for ``reward``.

    The method's own defaults give way to the suite's, these to the experiment's, these to its overrides by
    reward.

    Raises:
        UserError: unknown method, or settings that do not fit it, one fault a line.
    """
    known = suite.methods.get(method, {}) if suite is not None else {}
    config, faults = parse(_methods()[method], known | for_reward(settings, reward))
    raise_faults(f"settings of {method} for {reward}", faults)
    assert config is not None
    return config.model_dump(mode="json")


def check_fair(runs: Sequence[RunConfig], compares: Sequence[str] = (METHOD,)) -> None:
    """Refuse runs that differ in anything but what is compared, the reward and the seed.

    All runs must have the same experiment, suite (backbone, sampler), budget and evaluation; all runs on
    one reward the same prompts; all arms the same seeds on each reward, the same method and the same
    settings. What ``compares`` names may differ: ``method`` lets arms have other methods with their own
    settings but for ``SHARED_SETTINGS``; every other word is a setting or a key of the suite. The base
    model spends nothing and has one seed.

    Raises:
        UserError: every difference, one a line; or nothing differs in what is compared.
    """
    raise_faults("not a fair comparison", _unfair(runs, compares))


def _unfair(runs: Sequence[RunConfig], compares: Sequence[str]) -> Iterator[Fault]:
    only = " and ".join(compares)
    trained = [run for run in runs if run.method != "base"]
    for field in ("experiment", "evaluation"):
        yield from _differences(runs, field, [getattr(run, field) for run in runs], only)
    suites = [_without(run.suite.model_dump(), compares) for run in runs]
    yield from _differences(runs, "suite", suites, only)
    yield from _differences(trained, "budget", [run.reward_queries for run in trained], only)
    for name in (name for name in SHARED_SETTINGS if name not in compares):
        yield from _differences(trained, name, [run.settings.get(name) for run in trained], only)
    if METHOD not in compares:
        yield from _differences(trained, METHOD, [run.method for run in trained], only)
    yield from _idle(trained, compares)
    for reward in dict.fromkeys(run.reward for run in runs):
        judged = [run for run in runs if run.reward == reward]
        yield from _differences(judged, "prompts", [run.prompts for run in judged], only)
        yield from _arm_differences([run for run in judged if run.method != "base"], compares)
    for run in runs:
        if run.method == "base" and run.reward_queries:
            yield Fault(run.name, f"has a budget of {run.reward_queries}", "the base model is not trained")


def _without(table: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in keys}


def _idle(trained: Sequence[RunConfig], compares: Sequence[str]) -> Iterator[Fault]:
    """Yield a fault for everything that is said to be compared and is the same, or is nowhere."""
    if len({run.label for run in trained}) < 2:
        return  # one arm, against the base model
    for name in compares:
        values = [run.method if name == METHOD else _value(run, name) for run in trained]
        if all(value == values[0] for value in values):
            remedy = "name what differs between the arms, or change the arms"
            yield Fault("compares", f"names {name!r}, in which no two arms differ", remedy)


def _value(run: RunConfig, name: str) -> Any:
    return run.settings.get(name, run.suite.model_dump().get(name))


def _arm_differences(judged: Sequence[RunConfig], compares: Sequence[str]) -> Iterator[Fault]:
    """Yield what differs between arms, or between seeds of one, among the runs on one reward."""
    arms: dict[str, list[RunConfig]] = {}
    for run in judged:
        arms.setdefault(run.label, []).append(run)
    leads, only = [arm[0] for arm in arms.values()], " and ".join(compares)
    seeds = [sorted(run.seed for run in arm) for arm in arms.values()]
    yield from _differences(leads, "seeds", seeds, only)
    for method in dict.fromkeys(run.method for run in leads):
        alike = [run for run in leads if run.method == method]
        yield from _differences(alike, "settings", [_without(r.settings, compares) for r in alike], only)
    for arm in arms.values():
        yield from _differences(arm, "settings", [run.settings for run in arm], only)
        yield from _differences(arm, "suite", [run.suite for run in arm], only)


def _differences(runs: Sequence[RunConfig], what: str, values: Sequence[Any], only: str) -> Iterator[Fault]:
    """Yield a fault for the first run whose value is not that of the first run."""
    for run, value in zip(runs, values, strict=True):
        if value != values[0]:
            wrong = f"differs from {runs[0].name} in {what}"
            yield Fault(run.name, wrong, f"give all arms the same {what}; only {only} may differ")
            return


def _suite_faults(suite: SuiteConfig) -> Iterator[Fault]:
    backbones, rewards = _families()
    named = {f"rewards.{name}": (component, rewards) for name, component in suite.rewards.items()}
    named["backbone"] = (suite.backbone, backbones)
    named |= {f"gold.{name}": (component, rewards) for name, component in suite.gold.items()}
    if suite.prompt_share is not None:
        named["prompt_share"] = (suite.prompt_share, rewards)
    for key, (component, registry) in named.items():
        if component.family not in registry:
            wrong = f"of suite {suite.suite} has the unknown family {component.family!r}"
            yield Fault(key, wrong, nearest(component.family, registry))
    for method, settings in suite.methods.items():
        yield from _default_faults(method, settings, suite)


def _default_faults(method: str, settings: Mapping[str, Any], suite: SuiteConfig) -> Iterator[Fault]:
    """Yield what is wrong with the settings that a suite gives a method."""
    if method not in _methods():
        wrong = f"of suite {suite.suite} is not a known method"
        yield Fault(f"methods.{method}", wrong, nearest(method, _methods()))
        return
    _, faults = parse(_methods()[method], settings)
    for fault in faults:
        if fault.wrong == "is missing":
            continue  # the experiment may have it
        wrong = f"of suite {suite.suite} {fault.wrong}"
        yield fault._replace(key=f"methods.{method}.{fault.key}", wrong=wrong)


def _arm_faults(name: str, entry: Any, rewards: Iterable[str], suite: SuiteConfig) -> Iterator[Fault]:
    key = f"methods.{name}"
    if name == "base":
        yield Fault(key, "is not to be listed", "delete it: the base model is always among the arms")
        return
    if not isinstance(entry, dict):
        return  # told with the types
    method, settings, changes = read_arm(name, entry)
    if method not in _methods():
        place = f"{key}.{METHOD}" if METHOD in entry else key
        wrong = f"is {method!r}, which is no method" if METHOD in entry else "is not a known method"
        yield Fault(place, wrong, nearest(str(method), _methods()))
        return
    yield from _change_faults(f"{key}.{SUITE}", changes, suite)
    overrides = settings.get(BY_REWARD, {})
    if not isinstance(overrides, dict) or not all(isinstance(o, dict) for o in overrides.values()):
        yield Fault(f"{key}.{BY_REWARD}", "is no table of settings by reward", "indent them below a reward")
        return
    for reward in overrides:
        if reward not in suite.rewards:
            wrong = f"is no reward of suite {suite.suite}"
            yield Fault(f"{key}.{BY_REWARD}.{reward}", wrong, nearest(reward, suite.rewards))
    for reward in dict.fromkeys([*rewards, *overrides]):
        known, given = suite.methods.get(method, {}), for_reward(settings, reward)
        _, faults = parse(_methods()[method], known | given)
        for fault in faults:
            name = fault.key.split(".")[0]
            if name in known and name not in given:
                continue  # told with the suite
            own = name in overrides.get(reward, {})
            place = f"{key}.{BY_REWARD}.{reward}" if own else key
            yield fault._replace(key=f"{place}.{fault.key}" if fault.key else place)


def _change_faults(key: str, changes: Any, suite: SuiteConfig) -> Iterator[Fault]:
    """Yield what is wrong with what an arm changes in the suite."""
    if not isinstance(changes, dict):
        yield Fault(key, "is no table of keys of the suite", "write keys such as decode_frames below it")
        return
    allowed = [name for name in type(suite).model_fields if name in CHANGEABLE]
    for name in changes:
        if name not in allowed:
            yield Fault(f"{key}.{name}", "is nothing that an arm can change", nearest(name, allowed))


def _compares_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield a fault for every word under ``compares`` in which arms cannot differ."""
    words, arms = data.get("compares", METHOD), _table(data.get("methods"))
    named = [read_arm(name, entry).method for name, entry in arms.items() if isinstance(entry, dict)]
    configs = [config for name, config in _methods().items() if name in named]
    known = {METHOD, *CHANGEABLE, *(field for config in configs for field in config.model_fields)}
    for word in [words] if isinstance(words, str) else _list(words):
        if word not in known:
            yield Fault("compares", f"names {word!r}, in which arms cannot differ", nearest(str(word), known))


def _target_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    target, every = _table(data.get("target")), _table(data.get("evaluation")).get("every")
    arm, queries = target.get("arm"), target.get("queries")
    arms = _table(data.get("methods"))
    if isinstance(arm, str) and arm not in arms:
        yield Fault("target.arm", f"is {arm!r}, which is no arm of the experiment", nearest(arm, arms))
    budget = _table(data.get("budget")).get("reward_queries")
    if not (isinstance(queries, int) and isinstance(every, int) and isinstance(budget, int) and every > 0):
        return
    if queries % every or queries > budget:
        remedy = f"choose a multiple of evaluation.every ({every}), at most {budget}"
        yield Fault("target.queries", f"is {queries}, after which nothing is looked at", remedy)


def _judge_faults(data: Mapping[str, Any], suite: SuiteConfig) -> Iterator[Fault]:
    measure = _table(_table(data.get("evaluation")).get("measure"))
    for name in _list(measure.get("judges")):
        if name not in suite.rewards:
            wrong = f"names {name!r}, which is no reward of suite {suite.suite}"
            yield Fault("evaluation.measure.judges", wrong, nearest(str(name), suite.rewards))


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
