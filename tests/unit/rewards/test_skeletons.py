"""Rewards without values have the networks of the released ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from vader_bench.config import load_suite
from vader_bench.errors import UserError
from vader_bench.rewards import REWARDS
from vader_bench.rewards.skeletons import reward_skeleton

RELEASED = {"aesthetic": 303_966_208, "action": 86_534_800, "hps": 986_109_441}
"""Parameters of CLIP ViT-L/14's image tower with projection, VideoMAE base on 400 classes, CLIP ViT-H/14."""


@pytest.mark.parametrize("name", sorted(RELEASED))
def test_released_networks_have_their_known_sizes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    component = load_suite("modelscope").rewards[name]
    reward = reward_skeleton(component.family, component.settings)
    weights = [weight for module in reward.modules() for weight in module.parameters()]
    assert all(weight.is_meta for weight in weights)
    assert sum(weight.numel() for weight in weights) == pytest.approx(RELEASED[name], rel=0.002)


@pytest.mark.parametrize("name", ["aesthetic", "hps", "action"])
def test_a_packaged_reward_has_the_networks_that_are_loaded(name: str) -> None:
    component = load_suite("pocket").rewards[name]
    loaded = REWARDS.get(component.family)(**component.settings)
    bare = reward_skeleton(component.family, component.settings)
    assert bare.frames == loaded.frames
    for ours, theirs in zip(bare.modules(), loaded.modules(), strict=True):
        shapes = {key: value.shape for key, value in theirs.state_dict().items()}
        assert {key: value.shape for key, value in ours.state_dict().items()} == shapes


def test_a_reward_without_weights_is_itself() -> None:
    assert reward_skeleton("brightness", {}).name == "brightness"


def test_unknown_sizes_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="hf download some/clip"):
        reward_skeleton("aesthetic", {"clip": "hf:some/clip", "head": "pocket/aesthetic/head.safetensors"})
    with pytest.raises(UserError, match="cannot be estimated without a run yet"):
        reward_skeleton("brightness", {"model": "hf:some/model"})
