"""Loading what a run works with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.support import flow
from tests.support.configs import run_config, tiny_run
from vader_bench.config.schema import SuiteConfig
from vader_bench.errors import UserError
from vader_bench.training.load import load_backbone, load_components


def test_weights_are_the_settings_with_a_slash() -> None:
    suite = run_config().suite.model_dump()
    suite["rewards"]["other"] = {
        "family": "action",
        "settings": {"model": "pocket/videomae", "keywords": {"a/b": "spin", "x": "y/z"}, "more": ["u/v", 1]},
    }
    config = run_config(suite=suite)
    assert config.suite.weights("red") == ["nowhere/tiny"]
    assert config.suite.weights("red", "other") == ["nowhere/tiny", "pocket/videomae", "u/v", "y/z"]


def test_the_parts_of_a_run_are_loaded_with_their_digests(tiny_pipeline: Path) -> None:
    components = load_components(tiny_run(tiny_pipeline), "cpu")
    assert components.backbone.latent_shape == (4, 4, 4, 4)
    assert components.reward.name == "redness"
    assert components.gold is not None
    assert components.gold.name == "brightness"
    assert components.prompt_share is None
    assert len(components.prompts.split("train")) == 5
    names = {f"prompts/{split}" for split in ("train", "heldout", "dev_train", "dev_heldout")}
    assert components.digests.keys() == {f"weights/{tiny_pipeline}", *names}


def test_a_suite_may_have_no_gold_reward(tiny_pipeline: Path) -> None:
    suite = tiny_run(tiny_pipeline).suite.model_dump() | {"gold": None}
    assert load_components(tiny_run(tiny_pipeline, suite=suite), "cpu").gold is None


def test_a_run_gets_the_gold_of_its_reward_and_the_share_of_the_prompt(tiny_pipeline: Path) -> None:
    suite = tiny_run(tiny_pipeline).suite.model_dump()
    suite["rewards"]["bright"] = {"family": "brightness"}
    suite |= {
        "gold": {"bright": {"family": "brightness"}, "default": {"family": "colourfulness"}},
        "prompt_share": {"family": "redness"},
    }
    for reward, gold in (("red", "colourfulness"), ("bright", "brightness")):
        components = load_components(tiny_run(tiny_pipeline, suite=suite, reward=reward), "cpu")
        assert components.gold is not None
        assert components.prompt_share is not None
        assert (components.gold.name, components.prompt_share.name) == (gold, "redness")
    del suite["gold"]["default"]
    assert load_components(tiny_run(tiny_pipeline, suite=suite), "cpu").gold is None


def test_what_guidance_leads_away_from_reaches_the_backbone(tiny_pipeline: Path, tmp_path: Path) -> None:
    """The suite's negative prompt, and a prompt's own."""
    line = {"prompt": "a cat", "negative_prompt": "grey"}
    (tmp_path / "train.jsonl").write_text(f'{json.dumps(line)}\n{{"prompt": "a dog"}}\n', "utf-8")
    (tmp_path / "heldout.txt").write_text("a hen\n", "utf-8")
    suite = tiny_run(tiny_pipeline).suite.model_dump()
    plain = load_components(tiny_run(tiny_pipeline, suite=suite), "cpu").backbone
    suite["sampler"]["negative_prompt"] = "ugly"
    run = tiny_run(tiny_pipeline, suite=suite, prompts=str(tmp_path))
    backbone = load_components(run, "cpu").backbone
    against = backbone.unconditional(backbone.encode(["a cat", "a dog"])).chunk(2, dim=1)[0]
    torch.testing.assert_close(against, plain.encode(["grey", "ugly"]))


def test_missing_weights_are_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="are neither a folder nor a file here"):
        load_components(tiny_run(tmp_path / "nowhere"), "cpu")


@pytest.mark.parametrize("slicing", [False, True])
def test_the_equation_of_the_suite_reaches_the_sampler_of_a_flow(
    slicing: bool, tiny_pipeline: Path, tmp_path: Path
) -> None:
    flow.wan_pipeline(tiny_pipeline / "tokenizer").save_pretrained(tmp_path)
    suite = tiny_run(tiny_pipeline).suite.model_dump()
    sizes = {"frames": 5, "height": 16, "width": 16, "tokens": 32}
    suite["backbone"] = {"family": "wan", "settings": {"weights": str(tmp_path), **sizes}}
    suite["memory"] = {"slicing": slicing}
    deviations = []
    for said in ({}, {"sde": "dance-grpo"}):
        suite["sampler"] = {"steps": 2, "eta": 0.5, "guidance": 1.0} | said
        schedule = load_backbone(SuiteConfig.model_validate(suite), "cpu").schedule
        zero, now, after = torch.zeros(1, 1), torch.tensor([800.0]), torch.tensor([640.0])
        deviations.append(schedule.transition(zero, zero, now, after, eta=0.5)[1].item())
    assert deviations == pytest.approx([0.4, 0.2])  # eta sqrt(s - s'), and twice that, as s / (1 - s) is 4


def test_the_memory_of_the_suite_reaches_the_backbone(tiny_pipeline: Path) -> None:
    suite = tiny_run(tiny_pipeline).suite.model_dump()
    suite["memory"] = {"frozen_weights": "bfloat16", "slicing": True}
    backbone = load_components(tiny_run(tiny_pipeline, suite=suite), "cpu").backbone
    assert {weight.dtype for weight in backbone.denoiser.parameters()} == {torch.bfloat16}
    assert backbone.decode(torch.zeros(1, *backbone.latent_shape)).dtype == torch.float32
