"""What the runs of an experiment will meet, tried on models without weights before any of them starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from vader_bench.backbones import BACKBONES, Backbone, BackboneFactory
from vader_bench.config.paths import weight_names
from vader_bench.config.schema import ComponentConfig, SuiteConfig
from vader_bench.config.yamlfile import Fault
from vader_bench.errors import ExitCode, UserError, shown
from vader_bench.experiment.arms import ArmConfig
from vader_bench.experiment.load import LoadedExperiment
from vader_bench.methods import METHODS
from vader_bench.prompts.sets import PromptReader, load_prompts
from vader_bench.rewards.base import REWARDS, fitting_factory, prompt_reader, yields_gradient
from vader_bench.weights.hub import HUB_PREFIX
from vader_bench.weights.resolve import resolve

__all__ = ["fit_faults", "prompt_faults"]

T = TypeVar("T")


def fit_faults(experiment: LoadedExperiment) -> list[Fault | UserError]:
    """Return what a checked experiment would fail on while it runs.

    Tried are the settings of backbone and rewards, sizes and frames of videos, steps of the sampler, settings
    of arms beside their sampler and reward, functions of plug-ins, pictures, and every prompt, by tokenizer
    and names of classes. Of weights that are not here, only the sizes of released models are known.
    """
    suite, config = experiment.suite, experiment.config
    if not _families(suite) <= {*BACKBONES.names(), *REWARDS.names()}:
        return []  # the suite's own faults tell of it
    faults: list[Fault | UserError] = []
    faults += _reward_faults(suite, config.needed_rewards)
    if faults:
        return faults
    backbone = _attempt(lambda: _skeleton(suite), faults)
    if backbone is not None:
        faults += _size_faults(suite, backbone, experiment.arms)
    for arm in experiment.arms:
        faults += _arm_faults(arm, config.rewards)
    splits = ["train", *config.evaluation.splits, *config.evaluation.final_splits]
    for name in dict.fromkeys(suite.prompts_for(reward) for reward in config.rewards):
        rewards = [reward for reward in config.rewards if suite.prompts_for(reward) == name]
        judges = config.evaluation.measure.judges
        faults += prompt_faults(suite, [*rewards, *judges], name, splits)
    return [suite.reworded(fault) if isinstance(fault, UserError) else fault for fault in faults]


def prompt_faults(
    suite: SuiteConfig, rewards: Sequence[str], prompts: str, splits: Iterable[str]
) -> list[Fault | UserError]:
    """Return which prompts the backbone, one of ``rewards`` or a measure beside it refuses.

    Args:
        suite: whose models read them.
        rewards: of the suite.
        prompts: name of the set.
        splits: of the set; one that it lacks is left out.
    """
    faults: list[Fault | UserError] = []
    readers = _readers(suite, rewards, faults)
    found = load_prompts(prompts)
    for split in dict.fromkeys(splits):
        for index, prompt in enumerate(found.splits.get(split, [])):
            wrong = next(_refusals(prompt, readers), None)
            if wrong is not None:
                place = f"prompt set {suite.written(prompts)}: {found.place(split, index)}"
                faults.append(UserError(place, f"{shown(prompt)} {wrong.wrong}", wrong.remedy))
    return faults


def _readers(
    suite: SuiteConfig, rewards: Sequence[str], faults: list[Fault | UserError]
) -> list[PromptReader]:
    """Return what reads prompts, of those models that are here; faults of theirs go to ``faults``."""
    found: list[PromptReader | None] = []
    if _is_here(suite.backbone):
        found.append(_attempt(lambda: _backbone_reader(suite), faults))
    components = [suite.rewards[name] for name in dict.fromkeys(rewards)]
    components += [measure for name in dict.fromkeys(rewards) for measure in suite.measures_for(name)]
    found += [_attempt(_reader_of(each), faults) for each in components if _is_here(each)]
    return [reader for reader in found if reader is not None]


def _backbone_reader(suite: SuiteConfig) -> PromptReader | None:
    weights, settings = suite.backbone_weights()
    return BACKBONES.get(suite.backbone.family).reader(weights, **settings)


def _reader_of(component: ComponentConfig) -> Callable[[], PromptReader | None]:
    return lambda: prompt_reader(component.family, component.settings)


def _refusals(prompt: str, readers: Sequence[PromptReader]) -> Iterator[UserError]:
    for read in readers:
        try:
            read(prompt)
        except UserError as error:
            yield error


def _attempt(make: Callable[[], T], faults: list[Fault | UserError]) -> T | None:
    """Return what ``make`` makes, or ``None`` and add why not to ``faults``."""
    try:
        return make()
    except UserError as error:
        faults.append(error)
    return None


def _is_here(component: ComponentConfig) -> bool:
    """Return whether the local cache of the hub has all weights of ``component`` that are there."""
    try:
        for name in weight_names(component.settings):
            if name.startswith(HUB_PREFIX):
                resolve(name)
    except UserError as error:
        if error.exit_code != ExitCode.MISSING:
            raise
        return False
    return True


def _families(suite: SuiteConfig) -> set[str]:
    parts = [suite.backbone, *suite.rewards.values(), *suite.gold.values()]
    return {part.family for part in [*parts, *filter(None, [suite.prompt_share])]}


def _reward_faults(suite: SuiteConfig, rewards: Sequence[str]) -> Iterator[Fault]:
    """Yield settings that no reward of the family takes."""
    named = {f"rewards.{name}": suite.rewards[name] for name in rewards}
    for name in rewards:
        if (gold := suite.gold_for(name)) is not None:
            named[f"gold.{name}"] = gold
    if suite.prompt_share is not None:
        named["prompt_share"] = suite.prompt_share
    for key, component in named.items():
        try:
            fitting_factory(component.family, component.settings)
            yields_gradient(component.family, component.settings)  # looks at the parts of mixtures
        except UserError as error:
            wrong = f"of suite {suite.suite}: {error.given} {error.wrong}"
            yield Fault(key, wrong, error.remedy)


def _skeleton(suite: SuiteConfig) -> Backbone | None:
    """Return the backbone without values; ``None`` where it takes its weights to make one."""
    weights, settings = suite.backbone_weights()
    factory = BACKBONES.get(suite.backbone.family)
    if type(factory).skeleton is BackboneFactory.skeleton:
        return None
    try:
        return factory.skeleton(weights, **settings)
    except UserError as error:
        if error.exit_code == ExitCode.MISSING and not _is_here(suite.backbone):
            return None
        raise


def _size_faults(
    suite: SuiteConfig, backbone: Backbone, arms: Sequence[ArmConfig]
) -> Iterator[Fault | UserError]:
    """Yield more frames to judge than a video has, and more steps than a schedule."""
    try:
        backbone.schedule.timesteps(suite.sampler.steps)
    except UserError as error:
        yield error
    asked = {f"decode_frames of suite {suite.suite}": suite.decode_frames}
    asked |= {f"methods.{arm.name}.suite.decode_frames": arm.suite.decode_frames for arm in arms}
    told = set()
    for key, frames in asked.items():
        if frames is not None and frames > backbone.frames and frames not in told:
            told.add(frames)  # an arm that changes nothing has the suite's
            yield Fault(
                key,
                f"is {frames}, and a video has {backbone.frames} frames",
                f"choose {backbone.frames} at most",
            )


def _arm_faults(arm: ArmConfig, rewards: Sequence[str]) -> Iterator[Fault]:
    """Yield settings of ``arm`` that do not fit its sampler or a reward."""
    kind = METHODS.get(arm.method)
    for name in rewards:
        reward = arm.suite.rewards[name]
        gradient = yields_gradient(reward.family, reward.settings)
        steps = arm.suite.sampler.steps
        for key, wrong, remedy in kind.refusals(arm.settings[name], steps=steps, gradient=gradient):
            if not key:
                yield Fault("rewards", f"names {name!r}, which {wrong}", f"{remedy}, and no arm {arm.name}")
                continue
            value = getattr(arm.settings[name], key)
            yield Fault(f"methods.{arm.name}.{key}", f"is {value!r} on {name}: {wrong}", remedy)
