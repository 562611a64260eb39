"""Rewards against vectors computed by the original code; the scores are ours, the losses are spelled out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.golden import LARGE, golden
from vader_bench.rewards.clip import cosine, read_head
from vader_bench.rewards.mix import weighted_sum
from vader_bench.rewards.pickscore import pick_score
from vader_bench.rewards.preprocess import CLIP_MEAN, CLIP_STD, CropPreprocess, HeightPreprocess, Preprocess
from vader_bench.rewards.videomae import ClassFinder, class_log_probability
from vader_bench.rewards.yolos import target_confidence


def unpack(name: str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor], Callable[..., None]]:
    """Return config, inputs, outputs and comparison of a case."""
    case = golden(name)
    return case.config, case.inputs, case.outputs, case.check


def rate(embeddings: Tensor) -> Tensor:
    path = LARGE.parent / "weights" / "sac+logos+ava1-l14-linearMSE.pth"
    if not path.exists():
        pytest.skip(f"no released aesthetic head at {path}")
    ratings: Tensor = read_head(path)(embeddings)
    return ratings


def test_aesthetic() -> None:
    config, inputs, _, check = unpack("reward_aesthetic")
    embeddings = inputs["clip_image_embeds"].requires_grad_()
    scores = rate(embeddings)
    loss = 0.1 * (10 - scores).abs().mean()
    check("scores", scores)
    check("reward", scores.mean())
    check("loss", loss)
    check("loss_no_target", -0.1 * scores.mean())
    check("loss_mid_target", 0.1 * (config["mid_target"] - scores).abs().mean())
    check("grad_clip_image_embeds", torch.autograd.grad(loss, embeddings)[0])


def test_hps() -> None:
    _, inputs, _, check = unpack("reward_hps")
    image, text = inputs["image_features"], inputs["text_features"]
    scores = cosine(image, text)
    check("cos", scores)
    check("reward", scores.mean())
    check("loss", (1 - scores).mean())


def test_hps_gradient_is_the_original_one_along_the_sphere() -> None:
    """The original normalises inside its model, before these features; ``cosine`` does it here."""
    _, inputs, outputs, _ = unpack("reward_hps")
    image, text = inputs["image_features"].requires_grad_(), inputs["text_features"]
    (gradient,) = torch.autograd.grad((1 - cosine(image, text)).mean(), image)
    original = outputs["grad_image_features"]
    along = original - (original * image).sum(-1, keepdim=True) * image
    torch.testing.assert_close(gradient, along.detach(), atol=1e-6, rtol=1e-4)


def test_aesthetic_and_hps_together() -> None:
    """With the weights in the docstring of ``Mix``; the loss is the objective up to sign and a constant."""
    _, inputs, outputs, check = unpack("reward_aesthetic_hps")
    embeddings = inputs["clip_image_embeds"].requires_grad_()
    image = inputs["image_features"].requires_grad_()
    values = {"aesthetic": rate(embeddings), "hps": cosine(image, inputs["text_features"])}
    check("aesthetic_scores", values["aesthetic"])
    check("reward", weighted_sum(values, {"aesthetic": 0.5, "hps": 7.5}).mean())
    loss = (1.5 * 0.1 * 10 + 1) / 2 - weighted_sum(values, {"aesthetic": 0.075, "hps": 0.5}).mean()
    check("loss", loss)
    gradient, sphere = torch.autograd.grad(loss, [embeddings, image])
    check("grad_clip_image_embeds", gradient)
    original = outputs["grad_image_features"]  # see test_hps_gradient_is_the_original_one_along_the_sphere
    along = original - (original * image).sum(-1, keepdim=True) * image
    torch.testing.assert_close(sphere, along.detach(), atol=2e-6, rtol=1e-4)


def test_actpred() -> None:
    config, inputs, _, check = unpack("reward_actpred")
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
    config, inputs, _, check = unpack("reward_preprocessing")
    frame = (inputs["frame"] / 2 + 0.5).clamp(0, 1)
    clip = Preprocess(224, config["clip_mean"], config["clip_std"])
    imagenet = Preprocess(224, config["imagenet_mean"], config["imagenet_std"])
    check("aesthetic", clip(frame)[..., ::4, ::4])
    check("hps", clip(frame)[..., ::4, ::4])
    first, second = frame[:, :, :256, :256], frame[:, :, -256:, -256:]
    video = torch.stack([imagenet(first), imagenet(second)], dim=1)
    check("actpred", video[..., ::4, ::4])
    assert (tuple(config["clip_mean"]), tuple(config["clip_std"])) == (CLIP_MEAN, CLIP_STD)
    check("pickscore", CropPreprocess(224, CLIP_MEAN, CLIP_STD)(frame)[..., ::4, ::4])
    yolos = HeightPreprocess(512, config["imagenet_mean"], config["imagenet_std"])(frame)
    assert list(yolos.shape) == config["full_sizes"]["yolos"]
    check("yolos", yolos[..., ::8, ::8])


def test_pickscore() -> None:
    config, inputs, outputs, check = unpack("reward_pickscore")
    image, text = inputs["image_embeds"].requires_grad_(), inputs["text_embeds"].requires_grad_()
    scores = pick_score(image, text, torch.tensor(config["logit_scale"]))
    loss = (1 - scores / 100).abs().mean()
    check("correct/reward", scores.mean())
    check("correct/loss", loss)
    check("correct/reward_first_only", scores[0])
    check("correct/loss_first_only", 1 - scores[0] / 100)
    for name, gradient in zip(("image", "text"), torch.autograd.grad(loss, [image, text]), strict=True):
        check(f"correct/grad_{name}_embeds", gradient)
    check("score_matrix_text_by_image", pick_score(image, text[:, None], torch.tensor(config["logit_scale"])))
    assert abs(scores.mean() - outputs["upstream/reward"]) > 0.1  # one prompt for all is distinguished


def test_object_removal() -> None:
    config, inputs, outputs, check = unpack("reward_yolos_removal")
    target = next(int(index) for index, label in config["labels"].items() if label == config["target"])
    for i, batch in enumerate(config["batches"]):
        logits = inputs[f"logits_{i}"].requires_grad_()
        confidence = target_confidence(logits, target, config["threshold"])
        loss = confidence.mean()
        check(f"correct/loss_{i}", loss)
        check(f"correct/reward_{i}", 1 - loss)
        check(f"correct/grad_logits_{i}", torch.autograd.grad(loss, logits)[0])
        assert (confidence > 0).tolist() == batch["images_with_target"]
        same = torch.isclose(loss, outputs[f"upstream/loss_{i}"], atol=1e-6).item()
        assert same == batch["upstream_equals_correct"]
