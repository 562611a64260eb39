"""What an experiment and its suite must fulfil beyond their types: that all they name exists and fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from vader_bench.backbones import BACKBONES
from vader_bench.config.schema import (
    METHOD,
    ComponentConfig,
    EvaluationConfig,
    ExperimentConfig,
    SuiteChanges,
    SuiteConfig,
)
from vader_bench.config.yamlfile import AtFaultError, Fault, nearest, parse
from vader_bench.errors import UserError, shown
from vader_bench.experiment import registered
from vader_bench.experiment.arms import unknown_rewards
from vader_bench.prompts.sets import PromptSet, load_prompts
from vader_bench.registry import Registry, own_code
from vader_bench.rewards import REWARDS

__all__ = ["experiment_faults", "prompt_set_faults", "suite_faults"]

_SPENDS_NOTHING, _TRAINED_ARM = "adapters that spend nothing", "name an arm that is trained"


def suite_faults(suite: SuiteConfig) -> Iterator[Fault]:
    """Yield what is wrong with a suite beyond its types: families and methods that are not known."""
    rewards = {f"rewards.{name}": component for name, component in suite.rewards.items()}
    rewards |= {f"gold.{name}": component for name, component in suite.gold.items()}
    if suite.prompt_share is not None:
        rewards["prompt_share"] = suite.prompt_share
    yield from _family_faults(suite, rewards, REWARDS, registered.reward_families())
    yield from _family_faults(suite, {"backbone": suite.backbone}, BACKBONES, registered.backbone_families())
    for method, settings in suite.methods.items():
        yield from _default_faults(method, settings, suite)


def experiment_faults(experiment: ExperimentConfig, suite: SuiteConfig) -> Iterator[Fault | UserError]:
    """Yield what is wrong with an experiment beyond its types and its arms.

    Args:
        experiment: all of it, or what ``parse_partly`` leaves of it: what depends on a value at fault is
            not checked.
        suite: the suite it runs on.
    """
    checks: list[Iterator[Fault | UserError]] = [
        _compares_faults(experiment),
        _untrained_faults(experiment),
        _judge_faults(experiment, suite),
        _target_faults(experiment),
        _baseline_faults(experiment),
        _budget_faults(experiment),
        _prompt_faults(experiment, suite),
    ]
    for check in checks:
        with suppress(AtFaultError):
            yield from check


def _family_faults(
    suite: SuiteConfig,
    components: Mapping[str, ComponentConfig],
    registry: Registry[Any],
    known: Sequence[str],
) -> Iterator[Fault]:
    """Yield the families that are not ``known``, and files of the user's that cannot be used."""
    for key, component in components.items():
        if own_code(component.family):
            try:
                registry.get(component.family)
            except UserError as error:
                told = suite.reworded(error)
                yield Fault(key, f"of suite {suite.suite}: {told.given} {told.wrong}", told.remedy)
        elif part := _own_part(component):
            wrong = f"of suite {suite.suite}: names {part!r}, and parts are registered families"
            yield Fault(f"{key}.settings.parts", wrong, "offer the class by an entry point of a package")
        elif component.family not in known:
            wrong = f"of suite {suite.suite} has the unknown family {component.family!r}"
            yield Fault(key, wrong, nearest(component.family, known))


def _own_part(component: ComponentConfig) -> str:
    """Return a part of a mixture that is code in a file, whose path nothing makes relative; empty without."""
    parts = component.settings.get("parts") if component.family == "mix" else None
    return next(filter(own_code, parts), "") if isinstance(parts, dict) else ""


def _default_faults(method: str, settings: Mapping[str, Any], suite: SuiteConfig) -> Iterator[Fault]:
    """Yield what is wrong with the settings that a suite gives a method."""
    configs = registered.method_configs()
    if method not in configs:
        wrong = f"of suite {suite.suite} is not a known method"
        yield Fault(f"methods.{method}", wrong, nearest(method, configs))
        return
    _, faults = parse(configs[method], settings)
    for fault in faults:
        if fault.wrong == "is missing":
            continue  # the experiment may have it
        wrong = f"of suite {suite.suite} {fault.wrong}"
        yield fault._replace(key=f"methods.{method}.{fault.key}", wrong=wrong)


def _compares_faults(experiment: ExperimentConfig) -> Iterator[Fault]:
    """Yield a fault for every word under ``compares`` in which arms cannot differ."""
    configs = registered.method_configs()
    named = [arm.method or name for name, arm in experiment.methods.items() if arm.adapter is None]
    fields = [field for name in _usable(named, configs) for field in configs[name].model_fields]
    known = {METHOD, *SuiteChanges.model_fields, *fields}
    for word in experiment.compares:
        if word not in known:
            yield Fault("compares", f"names {word!r}, in which arms cannot differ", nearest(word, known))


def _untrained_faults(experiment: ExperimentConfig) -> Iterator[Fault]:
    """Yield a fault for an experiment that trains nothing: there is no budget to measure adapters beside."""
    if all(arm.adapter is not None for arm in experiment.methods.values()):
        yield Fault("methods", "has adapters alone, and nothing is trained", "add an arm with a method")


def _usable(names: Sequence[str], configs: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ``names`` of methods that can be used; faults of others are reported where they stand."""
    for name in dict.fromkeys(names):
        with suppress(UserError):
            if configs.get(name):
                yield name


def _judge_faults(experiment: ExperimentConfig, suite: SuiteConfig) -> Iterator[Fault]:
    yield from unknown_rewards("evaluation.measure.judges", experiment.evaluation.measure.judges, suite)


def _baseline_faults(experiment: ExperimentConfig) -> Iterator[Fault]:
    """Yield a fault for every baseline that is no arm."""
    for number, name in enumerate(experiment.baselines):
        if name not in experiment.methods:
            wrong = f"is {name!r}, which is no arm of the experiment"
            yield Fault(f"baselines.{number}", wrong, nearest(name, experiment.methods))
        elif experiment.methods[name].adapter is not None:
            yield Fault(f"baselines.{number}", f"is {name!r}, {_SPENDS_NOTHING}", _TRAINED_ARM)


def _target_faults(experiment: ExperimentConfig) -> Iterator[Fault]:
    target, arms = experiment.target, experiment.methods
    if target is None:
        return
    if target.arm not in arms:
        wrong = f"is {target.arm!r}, which is no arm of the experiment"
        yield Fault("target.arm", wrong, nearest(target.arm, arms))
    elif arms[target.arm].adapter is not None:
        yield Fault("target.arm", f"is {target.arm!r}, {_SPENDS_NOTHING}", _TRAINED_ARM)
    every, budget = experiment.evaluation.every, experiment.budget.reward_queries
    if target.queries % every or target.queries > budget:
        remedy = f"choose a multiple of evaluation.every ({every}), at most {budget}"
        yield Fault("target.queries", f"is {target.queries}, after which nothing is looked at", remedy)


def _budget_faults(experiment: ExperimentConfig) -> Iterator[Fault]:
    queries, every = experiment.budget.reward_queries, experiment.evaluation.every
    if queries % every:
        wrong = f"is {queries}, which is no multiple of evaluation.every ({every})"
        nearby = max(1, round(queries / every)) * every
        yield Fault("budget.reward_queries", wrong, f"make it {nearby}, so that the last look is at the end")


def _prompt_faults(experiment: ExperimentConfig, suite: SuiteConfig) -> Iterator[Fault | UserError]:
    names = [suite.prompts_for(reward) for reward in experiment.rewards if reward in suite.rewards]
    yield from prompt_set_faults(names, lambda: experiment.evaluation)


def prompt_set_faults(
    names: Iterable[str], evaluation: Callable[[], EvaluationConfig]
) -> Iterator[Fault | UserError]:
    """Yield what is wrong with the prompt sets ``names``: some are not there, or lack splits.

    Args:
        names: as ``load_prompts`` takes them.
        evaluation: returns what names the splits; one that is at fault names none.
    """
    for name in dict.fromkeys(names):
        try:
            prompts = load_prompts(name)
        except UserError as error:
            yield error
            continue
        if "train" not in prompts.splits:
            yield Fault(
                "suite", f"has the prompt set {shown(name)} without a split 'train'", "add that split"
            )
        yield from _split_faults("splits", lambda: evaluation().splits, prompts)
        yield from _split_faults("final_splits", lambda: evaluation().final_splits, prompts)


def _split_faults(key: str, splits: Callable[[], Sequence[str]], prompts: PromptSet) -> Iterator[Fault]:
    with suppress(AtFaultError):
        for split in splits():
            if split not in prompts.splits:
                wrong = f"names {split!r}, which is no split of prompt set {prompts.name}"
                yield Fault(f"evaluation.{key}", wrong, prompts.remedy(split))
