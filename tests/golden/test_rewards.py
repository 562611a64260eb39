"""Rewards against vectors computed by the original code; the scores are ours, the losses are spelled out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vader_bench.rewards.clip import cosine, read_head
from vader_bench.rewards.preprocess import Preprocess
from vader_bench.rewards.videomae import ClassFinder, class_log_probability

FOLDER = Path(os.environ.get("VADER_BENCH_GOLDEN") or Path(__file__).parents[3] / "shared" / "golden")


class Golden(NamedTuple):
    """One case: its description, inputs and a comparison with its outputs."""

    config: dict[str, Any]
    inputs: dict[str, Tensor]
    check: Callable[[str, Tensor], None]


def golden(name: str) -> Golden:
    if not FOLDER.is_dir():
        pytest.skip(f"no golden vectors at {FOLDER}; VADER_BENCH_GOLDEN says where they are")
    cases = json.loads((FOLDER / "index.json").read_text("utf-8"))["cases"]
    (case,) = [case for case in cases if case["name"] == name]
    tensors = load_file(FOLDER / case["file"])

    def check(key: str, value: Tensor) -> None:
        key = f"outputs/{key}"
        tolerance = case["tolerance"].get("per_tensor", {}).get(key, case["tolerance"])
        torch.testing.assert_close(
            value.detach(), tensors[key], atol=tolerance["atol"], rtol=tolerance["rtol"], msg=key
        )

    inputs = {k.removeprefix("inputs/"): v for k, v in tensors.items() if k.startswith("inputs/")}
    return Golden(case["config"], inputs, check)


def rate(config: dict[str, Any], embeddings: Tensor) -> Tensor:
    path = FOLDER.parent / "weights" / "sac+logos+ava1-l14-linearMSE.pth"
    if not path.exists():
        pytest.skip(f"no released aesthetic head at {path}")
    ratings: Tensor = read_head(path)(embeddings)
    return ratings


def test_aesthetic() -> None:
    config, inputs, check = golden("reward_aesthetic")
    embeddings = inputs["clip_image_embeds"].requires_grad_()
    scores = rate(config, embeddings)
    loss = 0.1 * (10 - scores).abs().mean()
    check("scores", scores)
    check("reward", scores.mean())
    check("loss", loss)
    check("loss_no_target", -0.1 * scores.mean())
    check("loss_mid_target", 0.1 * (config["mid_target"] - scores).abs().mean())
    check("grad_clip_image_embeds", torch.autograd.grad(loss, embeddings)[0])


def test_hps() -> None:
    _, inputs, check = golden("reward_hps")
    image, text = inputs["image_features"], inputs["text_features"]
    scores = cosine(image, text)
    check("cos", scores)
    check("reward", scores.mean())
    check("loss", (1 - scores).mean())


def test_hps_gradient_is_the_original_one_along_the_sphere() -> None:
    """The original normalises inside its model, before these features; ``cosine`` does it here."""
    _, inputs, _ = golden("reward_hps")
    image, text = inputs["image_features"].requires_grad_(), inputs["text_features"]
    (gradient,) = torch.autograd.grad((1 - cosine(image, text)).mean(), image)
    original = load_file(FOLDER / "reward_hps.safetensors")["outputs/grad_image_features"]
    along = original - (original * image).sum(-1, keepdim=True) * image
    torch.testing.assert_close(gradient, along.detach(), atol=1e-6, rtol=1e-4)


def test_aesthetic_and_hps_together() -> None:
    config, inputs, check = golden("reward_aesthetic_hps")
    embeddings = inputs["clip_image_embeds"].requires_grad_()
    ratings = rate(config, embeddings)
    cosines = cosine(inputs["image_features"], inputs["text_features"])
    loss = (1.5 * 0.1 * (10 - ratings).abs().mean() + (1 - cosines).abs().mean()) / 2
    check("aesthetic_scores", ratings)
    check("loss", loss)
    check("reward", (ratings.mean() + 15 * cosines.mean()) / 2)
    check("grad_clip_image_embeds", torch.autograd.grad(loss, embeddings)[0])


def test_actpred() -> None:
    config, inputs, check = golden("reward_actpred")
    labels = config["labels"]
    keywords = {word: next(x for x in labels if word in x) for word in config["keyword_order"]}
    finder = ClassFinder(labels, keywords)
    assert len(config["prompts"]) == 5
    for i, prompt in enumerate(config["prompts"]):
        index = finder.find(prompt["prompt"])
        assert index == prompt["target_index"]
        logits = inputs[f"logits_{i}"].requires_grad_()
        objective = class_log_probability(logits, torch.tensor([index]))[0]
        check(f"loss_{i}", -objective)
        check(f"prob_{i}", objective.exp())
        check(f"grad_logits_{i}", torch.autograd.grad(-objective, logits)[0])


def test_preprocessing() -> None:
    config, inputs, check = golden("reward_preprocessing")
    frame = (inputs["frame"] / 2 + 0.5).clamp(0, 1)
    clip = Preprocess(224, config["clip_mean"], config["clip_std"])
    imagenet = Preprocess(224, config["imagenet_mean"], config["imagenet_std"])
    check("aesthetic", clip(frame)[..., ::4, ::4])
    check("hps", clip(frame)[..., ::4, ::4])
    first, second = frame[:, :, :256, :256], frame[:, :, -256:, -256:]
    video = torch.stack([imagenet(first), imagenet(second)], dim=1)
    check("actpred", video[..., ::4, ::4])
