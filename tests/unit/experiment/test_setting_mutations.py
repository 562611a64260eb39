"""Settings of rewards and backbones that are no good: one error for the user, in all that `check` does."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from tests.support.mutations import mutated
from tests.unit.experiment.test_mutations import hold, often
from vader_bench.cost.frames import judged_frames
from vader_bench.errors import UserError
from vader_bench.experiment.load import load_experiment
from vader_bench.experiment.resolve import resolve_loaded

EXPERIMENT = """\
experiment: fig
question: Which?
suite: ./mine.yaml
rewards: [one]
methods:
  ddpo: {prompts_per_round: 1, samples_per_prompt: 2}
seeds: [0]
budget: {reward_queries: 4}
evaluation:
  every: 2
  prompts: 1
  splits: [heldout]
  final_splits: [heldout]
  final_prompts: 1
  measure: {judges: [two, three]}
"""
SUITE = """\
backbone:
  family: modelscope
  settings:
    weights: pocket/text-to-video
    frames: 8
    height: 64
"""
FLOW = """\
backbone:
  family: wan
  settings:
    weights: pocket/wan
    frames: 8
    height: 64
    width: 64
    tokens: 24
    flow_shift: 3.0
"""
PICTURES = """\
backbone:
  family: svd
  settings:
    weights: pocket/image-to-video
    pictures: pocket
    frames: 8
    height: 64
    width: 64
    noise_aug_strength: 0.02
"""
REST = """\
suite: mine
prompts: {default: ./prompts.yaml}
sampler: {steps: 4, eta: 1.0, guidance: 1.0}
"""
PLAIN = """\
rewards:
  one:
    family: temporal-consistency
    settings:
      model: pocket/vjepa
      frames: 4
      masks: 2
      seed: 0
  two:
    family: action
    settings:
      model: pocket/videomae
      keywords:
        spins: spinning
  three:
    family: object-removal
    settings:
      model: pocket/yolos
      target: book
      height: 64
gold:
  one: {family: audience-rating}
"""
SMALL = """\
rewards:
  one: {family: redness}
  two: {family: redness}
  three: {family: redness}
"""
MIXED = """\
rewards:
  one:
    family: mix
    settings:
      parts:
        aesthetic:
          clip: pocket/aesthetic
          head: pocket/aesthetic/head.safetensors
        brightness:
      weights:
        aesthetic: 0.5
        brightness: 7
      objective_weights:
        aesthetic: 1
        brightness: 2
  two:
    family: plugin
    settings:
      file: mine.py
      function: bright
      differentiable: true
      frames: 2
      by_frame: false
      units: none
  three:
    family: ./mine.py:Mine
    settings:
      scale: 1.0
      sizes: [1, 2]
prompt_share:
  family: pickscore
  settings:
    model: pocket/pickscore
    tokenizer: pocket/pickscore
"""
OWN = """\
from vader_bench.rewards import Reward

def bright(video, prompts):
    return video.mean((1, 2, 3, 4))

class Mine(Reward):
    def __init__(self, scale: float, sizes: list[int] = ()):
        self.scale = scale
    def judge(self, video, prompts):
        raise NotImplementedError
"""
TEXTS = [rewards + backbone for rewards in (PLAIN, MIXED) for backbone in (SUITE, FLOW, PICTURES)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files beside the suite; one that is right has been read, for which libraries were imported."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "fig.yaml").write_text(EXPERIMENT, "utf-8")
    (folder / "mine.py").write_text(OWN, "utf-8")
    prompts = (
        "splits:\n  train: [a red cat spinning in the park]\n  heldout: [a blue cat spinning in the park]\n"
    )
    (folder / "prompts.yaml").write_text(prompts, "utf-8")
    for text in TEXTS:
        (folder / "mine.yaml").write_text(REST + text, "utf-8")
        check(folder)
    return folder


def check(folder: Path) -> dict[str, Any]:
    resolved = resolve_loaded(load_experiment(folder / "fig.yaml"), with_weights=False)
    return judged_frames(resolved.suite, resolved.runs)


@settings(often, max_examples=60)
@given(text=mutated(TEXTS))
def test_settings_of_rewards_and_backbones(project: Path, text: str) -> None:
    hold(project / "mine.yaml", REST + text, lambda _: check(project))


ODD: tuple[Any, ...] = (3, -1, "text", [1], {"a": 1}, None, True)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where in ``value`` there are settings, and what is inside of them."""
    if "settings" in path[:-1]:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from places(inner, (*path, key))


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    found = place = copy.deepcopy(data)
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return found


NUMBERS = {"fps", "frames", "height", "masks", "scale", "seed", "tokens", "width"}


@pytest.mark.parametrize("text", [PLAIN + SUITE, SMALL + FLOW, SMALL + PICTURES])
def test_a_text_is_no_number(project: Path, text: str) -> None:
    data = yaml.safe_load(REST + text)
    found = [path for path in places(data) if path[-1] in NUMBERS]
    assert found
    for path in found:
        odd = yaml.safe_dump(replaced(data, path, "text"))
        (project / "mine.yaml").write_text(odd, "utf-8")
        with pytest.raises(UserError, match=rf"{path[-1]}\b.* is 'text'"):
            check(project)


@pytest.mark.parametrize("text", [PLAIN + SUITE, MIXED + SUITE, SMALL + FLOW, SMALL + PICTURES])
def test_every_setting_of_another_type(project: Path, text: str) -> None:
    data = yaml.safe_load(REST + text)
    for path in places(data):
        for value in ODD:
            odd = yaml.safe_dump(replaced(data, path, value))
            hold(project / "mine.yaml", odd, lambda _: check(project))
