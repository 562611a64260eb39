"""Evaluation videos: fixed by model, prompt and sample index."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vader_bench.backbones import Backbone
from vader_bench.config.schema import SamplerConfig
from vader_bench.evaluation.camera import Camera, Shot

SAMPLER = SamplerConfig(steps=2, eta=1.0, guidance=1.0)


@pytest.fixture
def camera(tiny_backbone: Backbone) -> Camera:
    return Camera(tiny_backbone, SAMPLER, "cpu", batch=2)


def taken(camera: Camera, *shots: Shot) -> Tensor:
    return torch.cat([video for video, _ in camera.batches(shots)])


def test_videos_are_clamped_and_of_the_full_length(camera: Camera) -> None:
    videos = taken(camera, ("a red cat", 0), ("a blue cat", 0), ("a red cat", 1))
    assert videos.shape == (3, 4, 3, 8, 8)
    assert videos.min() >= 0
    assert videos.max() <= 1
    assert not videos.requires_grad


def test_a_video_depends_on_prompt_and_sample_and_on_nothing_before(camera: Camera) -> None:
    first = taken(camera, ("a red cat", 0), ("a blue cat", 0))
    torch.manual_seed(5)
    again = taken(camera, ("a red cat", 0), ("a blue cat", 0))
    assert torch.equal(first, again)
    others = taken(camera, ("a red cat", 1), ("a blue cat", 1))
    assert not torch.allclose(first, others)
    assert not torch.allclose(first[0], first[1])


def test_shots_of_different_noises_share_no_batch(camera: Camera) -> None:
    shots = [(prompt, sample) for sample in (0, 1) for prompt in ("a", "b", "c")]
    batches = [list(batch) for _, batch in camera.batches(shots)]
    assert batches == [shots[:2], shots[2:3], shots[3:5], shots[5:]]


def test_guidance_changes_the_videos(tiny_backbone: Backbone) -> None:
    guided = SAMPLER.model_copy(update={"guidance": 5.0})
    videos = [taken(Camera(tiny_backbone, sampler, "cpu"), ("a red cat", 0)) for sampler in (SAMPLER, guided)]
    assert not torch.allclose(videos[0], videos[1])
