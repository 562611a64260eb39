"""What the runs of an experiment or a tuning will meet, tried on models without weights before any starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from vader_bench.backbones import BACKBONES
from vader_bench.backbones.adapters import fit_adapter
from vader_bench.backbones.base import BackboneFactory, Outline, guidance_pair
from vader_bench.backbones.reading import outline_of, picture_reader_of, reader_of, skeleton_of
from vader_bench.config.arguments import argument_faults
from vader_bench.config.names import ADAPTER
from vader_bench.config.paths import weight_names
from vader_bench.config.schema import ComponentConfig, EvaluationConfig, SamplerConfig, SuiteConfig
from vader_bench.config.settings import AdapterSettings
from vader_bench.config.yamlfile import Fault
from vader_bench.errors import ExitCode, UserError, shown
from vader_bench.experiment.arms import ArmConfig
from vader_bench.methods import METHODS
from vader_bench.prompts.lines import PromptDetails
from vader_bench.prompts.sets import PromptReader, load_prompts
from vader_bench.registry import own_code
from vader_bench.rewards import REWARDS
from vader_bench.rewards.base import (
    frames_seen,
    frames_to_judge,
    prompt_reader,
    setting_faults,
    yields_gradient,
)
from vader_bench.weights.adapters import read_stored
from vader_bench.weights.hub import HUB_PREFIX
from vader_bench.weights.resolve import resolve

__all__ = ["component_faults", "fit_faults", "prompt_faults"]

T = TypeVar("T")


def component_faults(suite: SuiteConfig, rewards: Sequence[str]) -> list[Fault | UserError]:
    """Return which settings the backbone and ``rewards`` do not take, before anything else reads them."""
    if not _all_known(suite):
        return []  # the suite's own faults tell of it
    faults: list[Fault | UserError] = []
    if (named := _attempt(suite.backbone_weights, faults)) is not None:
        load = BACKBONES.get(suite.backbone.family).load
        faults += (_in_suite(suite, "backbone", fault) for fault in argument_faults(load, named[1]))
    for key, component in _judges(suite, rewards).items():
        wrong = setting_faults(component.family, component.settings)
        faults += (_in_suite(suite, key, fault) for fault in wrong)
    return [suite.reworded(fault) if isinstance(fault, UserError) else fault for fault in faults]


def fit_faults(
    suite: SuiteConfig, arms: Sequence[ArmConfig], prompts: Mapping[str, str], evaluation: EvaluationConfig
) -> list[Fault | UserError]:
    """Return what runs without ``component_faults`` would fail on.

    Tried are sizes, frames and chunks of videos, steps of the sampler, settings of arms beside their sampler
    and reward, functions of plug-ins, pictures, and every prompt, by tokenizer and names of classes. Of
    weights that are not here, only the sizes of released models are known.

    Args:
        suite: whose models and rewards they have.
        arms: what is trained, with settings for the rewards that it is trained on.
        prompts: the set by reward that is trained on.
        evaluation: how all are looked at.
    """
    judges = evaluation.measure.judges
    if not _all_known(suite):
        return []  # the suite's own faults tell of it
    faults: list[Fault | UserError] = []
    outline = _attempt(lambda: _outline(suite), faults)
    if outline is not None:
        faults += _size_faults(suite, outline, arms)
    faults += _sde_faults(suite)
    faults += _chunk_faults(suite, evaluation.measure.chunks)
    faults += _frame_faults(suite, [*prompts, *judges], None if outline is None else outline.frames)
    for arm in arms:
        faults += _arm_faults(arm, [*prompts])
    splits = ["train", *evaluation.splits, *evaluation.final_splits]
    for name in dict.fromkeys(prompts.values()):
        rewards = [reward for reward, its in prompts.items() if its == name]
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
    pictures = _attempt(lambda: _picture_reader(suite), faults)
    found = load_prompts(prompts)
    for split in dict.fromkeys(splits):
        for index, prompt in enumerate(found.splits.get(split, [])):
            details = found.details.get(prompt, PromptDetails("", None))
            shows = [pictures] if pictures is not None and details.image is None else []
            wrong = next(_refusals(prompt, [*readers, *shows]), None)
            wrong = wrong or _unread(details, suite, shows=pictures is not None)
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
    return reader_of(suite.backbone.family, weights, settings)


def _unread(details: PromptDetails, suite: SuiteConfig, *, shows: bool) -> UserError | None:
    """Return what a model does not read of ``details``; ``shows`` if it is given a picture."""
    family = suite.backbone.family
    if details.image is not None and not shows:
        return UserError("", f"has an image, and {family} makes videos of texts alone", "leave `image` out")
    negative = details.negative_prompt or suite.sampler.negative_prompt
    if negative and not BACKBONES.get(family).reads_texts:
        return UserError("", f"has a negative prompt, and {family} reads no texts", "leave it out")
    return None


def _picture_reader(suite: SuiteConfig) -> PromptReader | None:
    return picture_reader_of(suite.backbone.family, suite.backbone_weights()[1])


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


def _all_known(suite: SuiteConfig) -> bool:
    known, parts = {*BACKBONES.names(), *REWARDS.names()}, [*suite.rewards.values(), *suite.gold.values()]
    families = {part.family for part in [suite.backbone, *parts, *filter(None, [suite.prompt_share])]}
    return all(family in known or own_code(family) for family in families)


def _judges(suite: SuiteConfig, rewards: Sequence[str]) -> dict[str, ComponentConfig]:
    """Return all that judges videos of runs on ``rewards``, by its key in the suite."""
    named = {f"rewards.{name}": suite.rewards[name] for name in rewards}
    for name in rewards:
        if (gold := suite.gold_for(name)) is not None:
            named[f"gold.{name}"] = gold
    if suite.prompt_share is not None:
        named["prompt_share"] = suite.prompt_share
    return named


def _in_suite(suite: SuiteConfig, key: str, fault: Fault) -> Fault:
    """Return a ``fault`` of the component ``key`` as one of an experiment's file."""
    if not fault.key:
        return Fault(key, f"of suite {suite.suite}: {fault.wrong}", fault.remedy)
    return Fault(f"{key}.settings.{fault.key}", f"of suite {suite.suite} {fault.wrong}", fault.remedy)


def _frame_faults(
    suite: SuiteConfig, rewards: Sequence[str], frames: int | None
) -> Iterator[Fault | UserError]:
    """Yield what judges more frames than the ``frames`` of a video, and mixtures whose parts do not fit.

    Frames that are not known are enough.
    """
    for key, component in _judges(suite, rewards).items():
        try:
            seen = frames_seen(component.family, component.settings)
        except UserError as error:
            if error.exit_code != ExitCode.MISSING:
                yield Fault(key, f"of suite {suite.suite}: {error.given} {error.wrong}", error.remedy)
            elif _is_here(component):
                yield error
            continue
        try:
            if frames is not None:
                frames_to_judge(seen.frames, frames)
        except UserError as error:
            yield Fault(key, f"of suite {suite.suite}: {error.given}, and {error.wrong}", error.remedy)


def _outline(suite: SuiteConfig) -> Outline | None:
    """Return what the backbone's configuration says; ``None`` where it takes its weights to know."""
    weights, settings = suite.backbone_weights()
    factory = BACKBONES.get(suite.backbone.family)
    kind = type(factory)
    if (kind.outline, kind.skeleton) == (BackboneFactory.outline, BackboneFactory.skeleton):
        return None
    try:
        return outline_of(suite.backbone.family, weights, settings)
    except UserError as error:
        if error.exit_code == ExitCode.MISSING and not _is_here(suite.backbone):
            return None
        raise


def _size_faults(
    suite: SuiteConfig, outline: Outline, arms: Sequence[ArmConfig]
) -> Iterator[Fault | UserError]:
    """Yield more frames to judge than a video has, steps than a schedule, and scales than networks."""
    try:
        outline.timesteps(suite.sampler.steps)
        guidance_pair(suite.sampler.guidance, suite.sampler.guidance_2, outline.boundary)
    except UserError as error:
        yield error
    asked = {f"decode_frames of suite {suite.suite}": suite.decode_frames}
    asked |= {f"methods.{arm.name}.suite.decode_frames": arm.suite.decode_frames for arm in arms}
    told = set()
    for key, frames in asked.items():
        if frames is not None and frames > outline.frames and frames not in told:
            told.add(frames)  # an arm that changes nothing has the suite's
            yield Fault(
                key,
                f"is {frames}, and a video has {outline.frames} frames",
                f"choose {outline.frames} at most",
            )


def _sde_faults(suite: SuiteConfig) -> Iterator[Fault]:
    """Yield a stochastic equation that is chosen for a model that has none."""
    usual, family = SamplerConfig.model_fields["sde"].default, suite.backbone.family
    if suite.sampler.sde != usual and not BACKBONES.get(family).flow:
        wrong = f"is {suite.sampler.sde!r}, and models of the family {family!r} are no flow models"
        yield Fault(f"sampler.sde of suite {suite.suite}", wrong, "leave it out")


def _chunk_faults(suite: SuiteConfig, chunks: int) -> Iterator[Fault]:
    """Yield longer videos that are asked for of a model that starts from no picture."""
    family = suite.backbone.family
    if chunks > 1 and type(BACKBONES.get(family)).picture_reader is BackboneFactory.picture_reader:
        wrong = f"is {chunks}, and {family} of suite {suite.suite} makes videos of texts alone"
        yield Fault("evaluation.measure.chunks", wrong, "leave it out, or use an image-to-video suite")


def _arm_faults(arm: ArmConfig, rewards: Sequence[str]) -> Iterator[Fault]:
    """Yield settings of ``arm`` that do not fit its sampler or a reward, or adapters that do not fit."""
    if arm.method == ADAPTER:
        yield from _adapter_faults(arm)
        return
    kind = METHODS.get(arm.method)
    for name in (name for name in rewards if name in arm.settings):
        reward = arm.suite.rewards[name]
        gradient = yields_gradient(reward.family, reward.settings)
        steps = arm.suite.sampler.steps
        for key, wrong, remedy in kind.refusals(arm.settings[name], steps=steps, gradient=gradient):
            if not key:
                yield Fault("rewards", f"names {name!r}, which {wrong}", f"{remedy}, and no arm {arm.name}")
                continue
            is_setting = key in type(arm.settings[name]).model_fields
            value = f"is {getattr(arm.settings[name], key)!r} " if is_setting else ""
            yield Fault(f"methods.{arm.name}.{key}", f"{value}on {name}: {wrong}", remedy)


def _adapter_faults(arm: ArmConfig) -> Iterator[Fault]:
    """Yield what keeps adapters from being read, or from fitting a model whose sizes are known."""
    settings, suite = next(iter(arm.settings.values()), None), arm.suite
    if not isinstance(settings, AdapterSettings):
        return  # the rewards' own faults tell of it
    written, factory = suite.written(settings.adapter), BACKBONES.get(suite.backbone.family)
    weights, others = suite.backbone_weights()
    try:
        stored = read_stored(settings.adapter, settings.alpha)
        try:
            denoiser = skeleton_of(suite.backbone.family, weights, others).denoiser
        except UserError:
            return  # what is wrong with the model is told elsewhere, or its sizes are known to nobody
        fit_adapter(stored, factory, denoiser, written)
    except UserError as error:
        told = suite.reworded(error)
        yield Fault(f"methods.{arm.name}.{ADAPTER}", f"is {written!r}, which {told.wrong}", told.remedy)
