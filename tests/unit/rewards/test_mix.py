from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vader_bench.config.schema import ComponentConfig, SuiteConfig
from vader_bench.errors import UserError
from vader_bench.rewards import make_reward
from vader_bench.rewards.mix import Mix, weighted_sum

PROMPTS = ["a cat growing", "a bus moving left"]
PAIR: dict[str, dict[str, Any]] = {"redness": {}, "brightness": {}}


def clips() -> Tensor:
    return torch.rand(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_weighted_sum() -> None:
    values = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([10.0, 20.0])}
    assert weighted_sum(values, {"a": 3.0, "b": -0.5}).tolist() == [-2.0, -4.0]


def test_scores_and_objectives_are_mixed_apart(tiny_videomae: Path) -> None:
    parts = {"action": {"model": str(tiny_videomae)}, "redness": {}}
    mixed = Mix.load(parts, {"action": 2, "redness": -3}, {"action": 5, "redness": 7}).judge(clips(), PROMPTS)
    action, redness = (make_reward(name, parts[name]).judge(clips(), PROMPTS) for name in parts)
    torch.testing.assert_close(mixed.score, 2 * action.score - 3 * redness.score)
    torch.testing.assert_close(mixed.objective, 5 * action.objective + 7 * redness.objective)


def test_objectives_have_the_weights_of_the_scores_by_default(tiny_videomae: Path) -> None:
    parts = {"action": {"model": str(tiny_videomae)}, "redness": {}}
    mixed = Mix.load(parts, {"action": 2, "redness": -3}).judge(clips(), PROMPTS)
    action, redness = (make_reward(name, parts[name]).judge(clips(), PROMPTS) for name in parts)
    torch.testing.assert_close(mixed.objective, 2 * action.objective - 3 * redness.objective)


def test_range_and_units_are_those_of_the_sum() -> None:
    mix = Mix.load(PAIR, {"redness": -2, "brightness": 0.5})
    assert mix.value_range == (-2.0, 2.5)
    assert mix.units == "-2 x (difference of channel means) + 0.5 x (luma)"
    less = Mix.load(
        PAIR | {"jpeg-compressibility": {}}, dict.fromkeys(PAIR, 1) | {"jpeg-compressibility": -1}
    )
    assert less.value_range == (-1.0, math.inf)


def test_a_black_box_makes_the_mix_one() -> None:
    parts: dict[str, Any] = {"redness": {}, "jpeg-compressibility": {}}
    mix = Mix.load(parts, {"redness": 1, "jpeg-compressibility": 1})
    assert not mix.differentiable
    assert Mix.load(PAIR, {"redness": 1, "brightness": 1}).differentiable


def test_networks_are_those_of_all_parts(tiny_clip: Path, tiny_head: Path) -> None:
    parts = {"aesthetic": {"clip": str(tiny_clip), "head": str(tiny_head)}, "hps": {"model": str(tiny_clip)}}
    assert len(Mix.load(parts, {"aesthetic": 0.5, "hps": 7.5}).modules()) == 5


def test_frames_are_those_of_the_part_that_cares(tiny_videomae: Path) -> None:
    parts = {"redness": {}, "action": {"model": str(tiny_videomae)}}
    assert Mix.load(parts, {"redness": 1, "action": 1}).frames == 4
    assert Mix.load(PAIR, {"redness": 1, "brightness": 1}).frames is None


def test_parts_that_judge_different_numbers_of_frames_are_refused(tiny_videomae: Path) -> None:
    parts: dict[str, Any] = {"action": {"model": str(tiny_videomae)}, "oracle": {}}
    with pytest.raises(UserError, match="judge different numbers of frames: action 4, oracle 8"):
        Mix.load(parts, {"action": 1, "oracle": 1})


@pytest.mark.parametrize(
    ("parts", "weights", "message"),
    [
        ({}, {}, "parts: are none"),
        (PAIR, {"redness": 1}, "weights: and parts differ in brightness; give one weight each for"),
        (PAIR, {"redness": 1, "brightness": 1, "hps": 1}, "weights: and parts differ in hps"),
        (PAIR, {"redness": 1, "brightness": 0}, "weights.brightness = 0: mixes nothing"),
        (PAIR, {"redness": 1, "brightness": math.nan}, "weights.brightness = nan: mixes nothing"),
        (PAIR, {"redness": 1, "brightness": "1"}, "weights.brightness = '1': is not a number"),
        ({"redness": {"colour": 1}}, {"redness": 1}, "settings of reward 'redness': do not fit"),
        ({"rednes": {}}, {"rednes": 1}, "reward 'rednes': is not known; did you mean 'redness'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    parts: dict[str, Any], weights: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Mix.load(parts, weights)


def test_objective_weights_are_checked_too() -> None:
    with pytest.raises(UserError, match="objective_weights: and parts differ in brightness"):
        Mix.load(PAIR, {"redness": 1, "brightness": 1}, {"redness": 1})


def test_a_suite_knows_the_weights_of_the_parts(suite_data: dict[str, Any]) -> None:
    settings = {
        "parts": {"aesthetic": {"clip": "pocket/clip", "head": "./head.pth"}},
        "weights": {"aesthetic": 1},
    }
    suite_data["rewards"]["aesthetic"] = ComponentConfig(family="mix", settings=settings).model_dump()
    names = SuiteConfig.model_validate(suite_data).weights("aesthetic")
    assert {"pocket/clip", "./head.pth"} <= set(names)
