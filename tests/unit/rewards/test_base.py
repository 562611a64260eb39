from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vader_bench.errors import UserError
from vader_bench.experiment.load import load_suite
from vader_bench.rewards import REWARDS, Judgement, Reward, make_reward
from vader_bench.rewards.base import StandIn, counted, frames_said, frames_seen, reward_skeleton
from vader_bench.rewards.clip import Aesthetic, HumanPreference
from vader_bench.rewards.closed_form import Redness


def test_a_reward_is_made_from_its_family_and_settings(tiny_clip: Path) -> None:
    assert isinstance(make_reward("redness", {}), Redness)
    assert isinstance(make_reward("hps", {"model": str(tiny_clip)}), HumanPreference)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {},
            r"'hps': do not fit \(missing .* 'model'\); its settings are: model, tokenizer",
        ),
        ({"model": "a", "modle": "b"}, r"do not fit \(got an unexpected keyword argument 'modle'\)"),
    ],
)
def test_settings_of_another_family_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_reward("hps", settings)


def test_a_family_without_settings_says_so() -> None:
    with pytest.raises(UserError, match=r"its settings are: \(none\)"):
        make_reward("redness", {"colour": "red"})


def test_what_makes_no_reward_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REWARDS._loaded, "guest", lambda: 3)
    with pytest.raises(UserError, match="reward 'guest': makes int, which is no Reward"):
        make_reward("guest", {})


@pytest.mark.parametrize(
    ("frames", "by_frame", "decoded", "said"),
    [
        (None, True, 2, "2 random frames of 8 in training, all of them at looks"),
        (None, True, None, "all of 8 frames in training and at looks"),
        (None, True, 8, "all of 8 frames in training and at looks"),
        (None, False, 2, "all of 8 frames in training and at looks"),
        (4, False, 2, "4 evenly spaced of 8 frames in training and at looks"),
        (8, False, 2, "all of 8 frames in training and at looks"),
    ],
)
def test_it_is_said_which_frames_are_judged(
    frames: int | None, by_frame: bool, decoded: int | None, said: str
) -> None:
    assert frames_said(frames, by_frame, decoded, 8) == said


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


def test_a_reward_without_weights_is_itself() -> None:
    assert reward_skeleton("brightness", {}).name == "brightness"


def test_unknown_sizes_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="hf download some/clip"):
        reward_skeleton("aesthetic", {"clip": "hf:some/clip", "head": "pocket/aesthetic/head.safetensors"})
    with pytest.raises(UserError, match="settings of reward 'brightness': do not fit"):
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


def test_what_a_constructor_adds_is_there_in_the_estimate(
    tiny_clip: Path, tiny_head: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Aesthetic.__init__

    def adding(self: Any, *args: Any, **parts: Any) -> None:
        plain(self, *args, **parts)
        self.added = 3

    monkeypatch.setattr(Aesthetic, "__init__", adding)
    bare = reward_skeleton("aesthetic", {"clip": str(tiny_clip), "head": str(tiny_head)})
    assert vars(bare)["added"] == 3


class Guest(Reward):
    """A reward as a package of others has it: its settings are its constructor's."""

    name = "guest"
    units = "any"
    value_range = (0.0, 1.0)
    source = "none"
    frames = 4
    differentiable = False

    def __init__(self, level: float) -> None:
        self.level = level

    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        score = video.new_full((len(prompts),), self.level)
        return Judgement(score, score)


class Planned(Guest):
    """One that says what it costs."""

    @classmethod
    def skeleton(cls, level: float) -> Reward:
        return cls(level)


def test_a_reward_of_others_costs_nothing_unless_it_says_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REWARDS._loaded, "guest", Guest)
    monkeypatch.setitem(REWARDS._loaded, "planned", Planned)
    made = make_reward("guest", {"level": 0.5})
    assert isinstance(made, Guest)
    assert made.level == 0.5
    bare = reward_skeleton("guest", {"level": 0.5})
    assert isinstance(bare, StandIn)
    assert (bare.frames, bare.differentiable) == (4, False)
    assert not counted("guest", {"level": 0.5})
    assert counted("planned", {"level": 0.5})
    assert isinstance(reward_skeleton("planned", {"level": 0.5}), Planned)


def test_a_function_that_makes_rewards_is_not_called_for_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(level: float) -> Reward:
        raise AssertionError(level)

    monkeypatch.setitem(REWARDS._loaded, "guest", make)
    assert reward_skeleton("guest", {"level": 0.5}).modules() == []
    assert not counted("guest", {"level": 0.5})
    with pytest.raises(UserError, match="its settings are: level"):
        reward_skeleton("guest", {})


@pytest.mark.parametrize("name", sorted(load_suite("pocket").rewards))
def test_the_frames_that_are_seen_are_known_without_networks(name: str) -> None:
    component = load_suite("pocket").rewards[name]
    bare = reward_skeleton(component.family, component.settings)
    assert frames_seen(component.family, component.settings) == (bare.frames, bare.by_frame)
