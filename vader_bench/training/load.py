"""The models a run works with, loaded as its suite says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from vader_bench.backbones import BACKBONES, Backbone
from vader_bench.backbones.detailed import with_details
from vader_bench.backbones.memory import DTYPES, with_memory_switches
from vader_bench.backbones.reading import load_family
from vader_bench.config.schema import ComponentConfig, RunConfig, SuiteConfig
from vader_bench.diffusion.flow import FlowSchedule
from vader_bench.prompts.lines import PromptDetails
from vader_bench.prompts.sets import PromptSet, load_prompts
from vader_bench.rewards import Reward, make_reward
from vader_bench.training.identity import input_digests
from vader_bench.weights.resolve import resolve

__all__ = ["Components", "load_backbone", "load_components", "load_reward", "suite_details"]


@dataclass(frozen=True)
class Components:
    """All that a run works with."""

    backbone: Backbone
    reward: Reward
    """What the run trains on."""
    gold: Reward | None
    """The truth that the reward imitates; no run trains on it."""
    prompt_share: Reward | None
    """What measures the share of its prompt that a video shows; no run trains on it."""
    judges: dict[str, Reward]
    """Other rewards that score what is looked at, by name."""
    prompts: PromptSet
    digests: dict[str, str]
    """SHA-256 by name: ``weights/<name>`` and ``prompts/<split>``."""


def load_components(config: RunConfig, device: str, *, to_train: bool = False) -> Components:
    """Return the components of a run, frozen, on ``device``; only what trains it, if ``to_train``.

    Raises:
        UserError: weights or prompts are missing or faulty, or settings do not fit their family.
    """
    suite = config.suite
    prompts = load_prompts(config.prompts)
    judges = [] if to_train else config.other_judges
    gold, share = (None, None) if to_train else (suite.gold_for(config.reward), suite.prompt_share)
    return Components(
        backbone=load_backbone(suite, device, prompts.details),
        reward=load_reward(suite.rewards[config.reward], device),
        gold=None if gold is None else load_reward(gold, device),
        prompt_share=None if share is None else load_reward(share, device),
        judges={name: load_reward(suite.rewards[name], device) for name in judges},
        prompts=prompts,
        digests=input_digests(config),
    )


def load_backbone(
    suite: SuiteConfig, device: str, details: Mapping[str, PromptDetails] | None = None
) -> Backbone:
    """Return the backbone of ``suite``, frozen, on ``device``.

    Args:
        suite: names it.
        device: where it computes.
        details: what prompts have beside their text.

    Raises:
        UserError: weights are missing or faulty, or settings do not fit the family.
    """
    name, settings = suite.backbone_weights()
    dtype = DTYPES[suite.memory.frozen_weights]
    backbone = load_family(suite.backbone.family, resolve(name), settings, dtype)
    if BACKBONES.get(suite.backbone.family).flow:
        assert isinstance(backbone.schedule, FlowSchedule), "the family says that its models are flows"
        backbone.schedule = replace(backbone.schedule, sde=suite.sampler.sde)
    backbone = with_memory_switches(backbone, suite.memory).to(device)
    return with_details(backbone, details or {}, suite.sampler.negative_prompt or "")


def suite_details(suite: SuiteConfig) -> dict[str, PromptDetails]:
    """Return what the prompts of all sets of ``suite`` have beside their text, by prompt."""
    sets = [load_prompts(name) for name in dict.fromkeys(suite.prompts.values())]
    return {prompt: one for found in sets for prompt, one in found.details.items()}


def load_reward(component: ComponentConfig, device: str) -> Reward:
    """Return the reward that ``component`` of a suite describes, frozen, on ``device``.

    Raises:
        UserError: weights are missing or faulty, or settings do not fit the family.
    """
    reward = make_reward(component.family, component.settings)
    for module in reward.modules():
        module.to(device)
    return reward
