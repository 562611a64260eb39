from __future__ import annotations

import pytest
import torch

from tests.support.svd import write_model
from vader_bench.backbones import BACKBONES, ImageBackbone
from vader_bench.backbones.memory import with_memory_switches
from vader_bench.config.schema import MemoryConfig, SamplerConfig
from vader_bench.diffusion.sampler import Sampler
from vader_bench.errors import UserError
from vader_bench.evaluation.evaluator import Evaluator
from vader_bench.evaluation.extend import chunk_names, chunk_noise, extend
from vader_bench.rewards.closed_form import Redness

SAMPLER = SamplerConfig(steps=2, eta=1.0, guidance=2.0)
PROMPTS = ["a red cat jumping in the park", "a blue car growing at night"]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> ImageBackbone:
    folder = write_model(tmp_path_factory.mktemp("svd") / "model")
    backbone = BACKBONES.get("svd").load(folder, height=16, width=16, pictures="pocket")
    assert isinstance(backbone, ImageBackbone)
    return backbone


def test_one_chunk_is_the_plain_video(backbone: ImageBackbone) -> None:
    evaluator = Evaluator(backbone, SAMPLER, Redness(), None, "cpu")
    for sample in (0, 1):
        expected = evaluator.videos([(prompt, sample) for prompt in PROMPTS])
        torch.testing.assert_close(extend(backbone, SAMPLER, PROMPTS, 1, sample=sample), expected)


@torch.no_grad()
def test_a_chunk_is_a_sampling_from_the_last_frame_of_the_one_before(backbone: ImageBackbone) -> None:
    video = extend(backbone, SAMPLER, PROMPTS, 3)
    assert video.shape == (2, 9, 3, 16, 16)
    assert not video.requires_grad
    torch.testing.assert_close(video[:, :3], extend(backbone, SAMPLER, PROMPTS, 1))
    sampler = Sampler(backbone.denoise, backbone.schedule, 2, 0.0, 2.0)
    for chunk in (1, 2):
        last = video[:, 3 * chunk - 1]
        encoded = backbone.encode_pictures(last, chunk_names(PROMPTS, 0, chunk), PROMPTS)
        noise = torch.cat([chunk_noise(backbone, prompt, 0, chunk, "cpu") for prompt in PROMPTS])
        latents = sampler.plain(noise, encoded, torch.zeros_like(encoded))
        expected = backbone.decode(latents).clamp(0, 1)
        torch.testing.assert_close(video[:, 3 * chunk : 3 * chunk + 3], expected, atol=1e-5, rtol=1e-5)


def test_every_chunk_has_noise_of_its_own(backbone: ImageBackbone) -> None:
    prompts = (PROMPTS[0], PROMPTS[1])
    noises = [chunk_noise(backbone, p, s, c, "cpu") for p in prompts for s in (0, 1) for c in (0, 1, 2)]
    assert len({tuple(noise.flatten().tolist()) for noise in noises}) == 12
    names = [name for s in (0, 1) for c in (1, 2) for name in chunk_names(prompts, s, c)]
    assert len(set(names)) == 8


def test_a_model_that_saves_memory_is_extended_too(backbone: ImageBackbone) -> None:
    saving = with_memory_switches(backbone, MemoryConfig(slicing=True, offload_activations=True))
    assert isinstance(saving, ImageBackbone)
    expected = extend(backbone, SAMPLER, PROMPTS, 2)
    torch.testing.assert_close(extend(saving, SAMPLER, PROMPTS, 2), expected, atol=1e-5, rtol=1e-5)


def test_videos_of_no_chunk_are_refused(backbone: ImageBackbone) -> None:
    with pytest.raises(UserError, match="chunks = 0: out of range; choose at least 1"):
        extend(backbone, SAMPLER, PROMPTS, 0)
