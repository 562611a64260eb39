"""Evaluation videos: fixed by model, prompt and sample index."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vader_bench.backbones import Backbone
from vader_bench.config.schema import SamplerConfig
from vader_bench.evaluation.generator import PromptSample, VideoGenerator

SAMPLER = SamplerConfig(steps=2, eta=1.0, guidance=1.0)


@pytest.fixture
def generator(tiny_backbone: Backbone) -> VideoGenerator:
    return VideoGenerator(tiny_backbone, SAMPLER, "cpu", batch=2)


def taken(generator: VideoGenerator, *asked: PromptSample) -> Tensor:
    return torch.cat([video for video, _ in generator.batches(asked)])


def test_videos_are_clamped_and_of_the_full_length(generator: VideoGenerator) -> None:
    videos = taken(generator, ("a red cat", 0), ("a blue cat", 0), ("a red cat", 1))
    assert videos.shape == (3, 4, 3, 8, 8)
    assert videos.min() >= 0
    assert videos.max() <= 1
    assert not videos.requires_grad


def test_a_video_depends_on_prompt_and_sample_and_on_nothing_before(generator: VideoGenerator) -> None:
    first = taken(generator, ("a red cat", 0), ("a blue cat", 0))
    torch.manual_seed(5)
    again = taken(generator, ("a red cat", 0), ("a blue cat", 0))
    assert torch.equal(first, again)
    others = taken(generator, ("a red cat", 1), ("a blue cat", 1))
    assert not torch.allclose(first, others)
    assert not torch.allclose(first[0], first[1])


def test_videos_of_different_noises_share_no_batch(generator: VideoGenerator) -> None:
    asked = [(prompt, sample) for sample in (0, 1) for prompt in ("a", "b", "c")]
    batches = [list(batch) for _, batch in generator.batches(asked)]
    assert batches == [asked[:2], asked[2:3], asked[3:5], asked[5:]]


def test_guidance_changes_the_videos(tiny_backbone: Backbone) -> None:
    guided = SAMPLER.model_copy(update={"guidance": 5.0})
    videos = [
        taken(VideoGenerator(tiny_backbone, sampler, "cpu"), ("a red cat", 0))
        for sampler in (SAMPLER, guided)
    ]
    assert not torch.allclose(videos[0], videos[1])
