"""Rewards without values have the networks of the released ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vader_bench.errors import UserError
from vader_bench.experiment.load import load_suite
from vader_bench.rewards import REWARDS
from vader_bench.rewards.skeletons import counted, reward_skeleton

RELEASED = {
    ("modelscope", "aesthetic"): 303_966_208,
    ("modelscope", "action"): 86_534_800,
    ("modelscope", "hps"): 986_109_441,
    ("videocrafter2", "pickscore"): 986_109_441,
    ("videocrafter2", "aesthetic-hps"): 303_966_208 + 986_109_441,
    ("videocrafter2", "object-removal"): 127_800_000,
    ("videocrafter2", "jpeg-compressibility"): 0,
    ("svd", "temporal-consistency"): 326_000_000,
}
"""Parameters of CLIP ViT-L/14's image tower with projection, VideoMAE base on 400 classes, CLIP ViT-H/14,
YOLOS base, and V-JEPA 2's encoder of the size L with its predictor."""


@pytest.mark.parametrize(("suite", "name"), sorted(RELEASED))
def test_released_networks_have_their_known_sizes(
    suite: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    component = load_suite(suite).rewards[name]
    reward = reward_skeleton(component.family, component.settings)
    weights = [weight for module in reward.modules() for weight in module.parameters()]
    assert all(weight.is_meta for weight in weights)
    assert sum(weight.numel() for weight in weights) == pytest.approx(RELEASED[suite, name], rel=0.002)
    frames = reward.frames or 1
    with torch.device("meta"):
        judgement = reward.judge(torch.empty(1, frames, 3, 32, 48), ["a prompt"])
    assert judgement.objective.shape == (1,)


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


def test_unknown_sizes_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="hf download some/clip"):
        reward_skeleton("aesthetic", {"clip": "hf:some/clip", "head": "pocket/aesthetic/head.safetensors"})
    with pytest.raises(UserError, match="cannot be estimated without a run yet"):
        reward_skeleton("brightness", {"model": "hf:some/model"})


def test_a_plugin_is_counted_as_nothing_and_its_file_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("raise SystemExit('run')", "utf-8")
    settings = {"file": str(path), "function": "f", "frames": 4, "differentiable": False}
    reward = reward_skeleton("plugin", settings)
    assert (reward.frames, reward.differentiable, reward.modules()) == (4, False, [])
    assert reward.score(torch.empty(2, 4, 3, 8, 8, device="meta"), ["a", "b"]).shape == (2,)
    assert not counted("plugin", settings)
    assert not counted("mix", {"parts": {"brightness": None, "plugin": settings}, "weights": {}})
    assert counted("mix", {"parts": {"brightness": None}, "weights": {}})
    assert counted("hps", {"model": "pocket/hps"})
