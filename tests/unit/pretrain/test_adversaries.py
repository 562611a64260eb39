"""A model is trained against a reward, looked at on the way, and is the base model again."""

from __future__ import annotations

import numpy as np
import torch
from peft.tuners.lora import LoraLayer

from vader_bench.backbones import Backbone
from vader_bench.pretrain.adversaries import Attack, attack
from vader_bench.pretrain.bases import Request, sample
from vader_bench.rewards import make_reward

PROMPTS = [f"a {colour} {noun}" for colour in ("red", "blue") for noun in ("cat", "bus", "cup", "boat")]


def test_videos_are_yielded_at_each_look_and_get_brighter(tiny_backbone: Backbone) -> None:
    before = [weight.clone() for weight in tiny_backbone.denoiser.parameters()]
    how = Attack(rate=0.01, seed=7, looks=(4, 80))
    untrained = sample(tiny_backbone, Request(PROMPTS, ("attack", how.seed, 80)))
    glances = list(attack(tiny_backbone, make_reward("brightness", {}), how, PROMPTS, PROMPTS))
    assert [glance.queries for glance in glances] == [4, 80]
    assert all(glance.videos.shape == (8, 4, 8, 8, 3) for glance in glances)
    assert glances[1].videos.mean() > untrained.mean() + 0.5, "of 255, from the same noise"
    assert not any(isinstance(module, LoraLayer) for module in tiny_backbone.denoiser.modules())
    after = list(tiny_backbone.denoiser.parameters())
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_seeds_differ_and_repeat(tiny_backbone: Backbone) -> None:
    def videos(seed: int) -> bytes:
        how = Attack(rate=0.05, seed=seed, looks=(4,))
        (glance,) = attack(tiny_backbone, make_reward("brightness", {}), how, PROMPTS, PROMPTS)
        return np.ascontiguousarray(glance.videos).tobytes()

    assert videos(1) == videos(1) != videos(2)
