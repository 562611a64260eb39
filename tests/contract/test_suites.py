"""What every embedded suite must do: load as it stands, and let every method take a step."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.support.configs import run_config
from vader_bench.budget import metering
from vader_bench.budget.ledger import Budget, Meter
from vader_bench.config.schema import RunConfig
from vader_bench.experiment.arms import read_settings
from vader_bench.experiment.load import load_suite, suite_names
from vader_bench.methods import METHODS
from vader_bench.pocket.vocabulary import parse_caption
from vader_bench.prompts.sets import load_prompts, prompt_stream
from vader_bench.training.load import load_components
from vader_bench.training.workbench import make_method
from vader_bench.weights.resolve import is_packaged

EMBEDDED = [
    name
    for name in suite_names()
    if all(is_packaged(weights) for weights in load_suite(name).weights(*load_suite(name).rewards))
]
_PAIR = {"prompts_per_round": 1, "samples_per_prompt": 2}
SETTINGS: dict[str, dict[str, Any]] = dict.fromkeys(("ddpo", "grpo", "nft", "raft"), _PAIR)


def config(suite: str, method: str = "vader") -> RunConfig:
    """Return a run of two steps of sampling, and two videos a step of training."""
    full = load_suite(suite)
    short = full.model_copy(update={"sampler": full.sampler.model_copy(update={"steps": 2})})
    settings = {"batch_size": 2, "lora_rank": 2, "learning_rate": 1e-3} | SETTINGS.get(method, {})
    reward = "aesthetic"
    return run_config(
        suite=short.model_dump(),
        method=method,
        settings=read_settings(method, settings, reward),
        reward=reward,
        prompts=short.prompts_for(reward),
    )


def test_three_are_embedded() -> None:
    assert EMBEDDED == ["pocket", "pocket-i2v", "pocket-wan"]


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_reward_of_a_suite_loads_and_has_prompts_with_all_splits(name: str) -> None:
    suite = load_suite(name)
    for reward in suite.rewards:
        run = config(name).model_copy(update={"reward": reward, "prompts": suite.prompts_for(reward)})
        components = load_components(run, "cpu")
        assert components.backbone.frames == 8
        assert components.gold is not None, reward
        assert not components.gold.modules(), "a truth is no network"
        assert components.prompt_share is not None
        assert components.prompt_share.name == "oracle"
        splits = components.prompts.splits
        assert {"train", "heldout", "dev_train", "dev_heldout"} <= splits.keys()
        assert all(parse_caption(prompt) for members in splits.values() for prompt in members)


GOLDS = {
    "action": "action-verdict",
    "aesthetic": "audience-rating",
    "aesthetic-hps": "mix",
    "brightness": "brightness",
    "colourfulness": "colourfulness",
    "hps": "audience-utility",
    "jpeg-compressibility": "jpeg-compressibility",
    "object-removal": "book-absence",
    "pickscore": "judges-appeal",
    "temporal-consistency": "actor-constancy",
}


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_reward_of_a_suite_has_a_truth_of_its_own(name: str) -> None:
    suite = load_suite(name)
    assert {reward: gold.family for reward, gold in suite.gold.items()} == {
        reward: GOLDS[reward] for reward in suite.rewards
    }


def test_image_to_video_trains_on_one_breed_and_tests_on_another() -> None:
    prompts = load_prompts(load_suite("pocket-i2v").prompts["default"])
    for split, breed in (("train", "labrador"), ("heldout", "labrador"), ("noun", "maltese")):
        assert all(f" {breed} " in prompt for prompt in prompts.split(split))


@pytest.mark.parametrize("method", METHODS.names())
@pytest.mark.parametrize("name", EMBEDDED)
def test_every_method_takes_a_step(name: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "count_flops", lambda *_: (2, 3))  # counting takes longer than all else
    run = config(name, method)
    components, meter = load_components(run, "cpu"), Meter(Budget(reward_queries=2))
    stream = prompt_stream(components.prompts.split("train"), 0)
    taught = make_method(run, components, meter, stream, "cpu")
    before = {key: weight.clone() for key, weight in taught.lora.state().items()}
    metrics = taught.step(2)
    assert all(math.isfinite(value) for value in metrics.values()), metrics
    assert metrics["grad_norm"] > 0
    assert any(not weight.equal(before[key]) for key, weight in taught.lora.state().items())
    assert meter.ledger.reward_queries == 2
