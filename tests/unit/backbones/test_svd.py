from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import (
    StableVideoDiffusionPipeline,
)
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.support.benches import PROMPTS, make_stand
from tests.support.svd import WIDTH, make_pipeline, write_model
from vader_bench.backbones import BACKBONES
from vader_bench.backbones.svd import Svd, augmentation_stream
from vader_bench.budget import metering
from vader_bench.diffusion.sampler import Sampler
from vader_bench.errors import ExitCode, UserError
from vader_bench.seeding import torch_stream

METHODS: dict[str, dict[str, Any]] = {
    "vader": {"k": 2},
    "ddpo": {"prompts_per_round": 2, "samples_per_prompt": 2},
    "diffusion-dpo": {},
}
CALLS = {
    "vader": (4 * 3 * 2, 4 * 2 * 2),  # the last two steps have a backward
    "ddpo": (4 * 3 * 2 + 4 * 3 * 2, 4 * 3 * 2),  # sampling, then every step once more
    "diffusion-dpo": (4 * 3 * 2 + 4 + 4, 4),  # sampling, then model and reference of two pairs
}
"""Forwards and backwards of the denoiser for 4 videos in 3 steps with guidance."""
HEIGHT, LENGTH = 16, 24
"""Pixels of the test's pictures, down and across."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random picture for every prompt."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for prompt in PROMPTS:
        pixels = rng.integers(0, 256, (HEIGHT, LENGTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{prompt}.png")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("svd") / "model")


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "model"))


@pytest.fixture(scope="module")
def pipeline() -> StableVideoDiffusionPipeline:
    pipeline = make_pipeline()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load(folder: Path, pictures: Path | None = None, **settings: Any) -> Svd:
    named = "pocket" if pictures is None else str(pictures)
    wanted = {"height": HEIGHT, "width": LENGTH, "pictures": named} | settings
    backbone = BACKBONES.get("svd").load(folder, **wanted)
    assert isinstance(backbone, Svd)
    return backbone


def start(backbone: Svd, videos: int = 2) -> Tensor:
    return torch.randn(videos, *backbone.latent_shape, generator=torch_stream(0, "start"))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers
@pytest.mark.parametrize("guidance", [1.0, 2.5])
@torch.no_grad()
def test_videos_equal_those_of_diffusers_pipeline(
    guidance: float, model: Path, pictures: Path, pipeline: StableVideoDiffusionPipeline
) -> None:
    settings = {"fps": 9, "motion_bucket_id": 60, "noise_aug_strength": 0.3}
    backbone = load(model, pictures, **settings)
    names, noise = PROMPTS[:2], start(backbone)
    encoded = backbone.encode(names)
    sampler = Sampler(backbone.denoise, backbone.schedule, 4, 0.0, guidance)
    latents = sampler.plain(noise, encoded, backbone.unconditional(encoded))

    def theirs(output_type: str) -> Tensor:
        frames: Tensor = pipeline(
            [Image.open(pictures / f"{name}.png") for name in names],
            height=HEIGHT,
            width=LENGTH,
            num_frames=3,
            num_inference_steps=4,
            min_guidance_scale=guidance,
            max_guidance_scale=guidance,
            latents=noise.transpose(1, 2),
            generator=[augmentation_stream(name) for name in names],
            output_type=output_type,
            **settings,
        ).frames
        return frames

    torch.testing.assert_close(latents, theirs("latent").transpose(1, 2), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(backbone.decode(latents).clamp(0, 1), theirs("pt"), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_condition_is_embedding_and_latents_as_in_diffusers(
    model: Path, pictures: Path, pipeline: StableVideoDiffusionPipeline
) -> None:
    backbone = load(model, pictures, noise_aug_strength=0.0)
    encoded = backbone.encode(PROMPTS[:2])
    assert encoded.shape == (2, 1, WIDTH + 4 * 8 * 12)
    images = [Image.open(pictures / f"{name}.png") for name in PROMPTS[:2]]
    embedding = pipeline._encode_image(images, "cpu", 1, False)
    torch.testing.assert_close(encoded[:, :, :WIDTH], embedding, atol=1e-4, rtol=1e-4)
    prepared = pipeline.video_processor.preprocess(images, height=HEIGHT, width=LENGTH)
    latents = pipeline._encode_vae_image(prepared, "cpu", 1, False)
    torch.testing.assert_close(encoded[:, 0, WIDTH:], latents.flatten(1), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_prompt_always_gives_the_same_condition_and_the_empty_one_gives_zeros(
    model: Path, pictures: Path
) -> None:
    backbone = load(model, pictures)
    first = backbone.encode([PROMPTS[0]])
    torch.manual_seed(3)
    mixed = backbone.encode([PROMPTS[1], "", PROMPTS[0]])
    torch.testing.assert_close(mixed[2:], first)
    assert not torch.allclose(mixed[0], mixed[2], atol=1e-2)
    assert torch.equal(mixed[1], torch.zeros_like(mixed[1]))
    assert torch.equal(backbone.unconditional(first), backbone.encode([""]))
    picture = torch.rand(1, 3, HEIGHT, LENGTH, generator=torch_stream(0, "picture"))
    one, again, other = (backbone.encode_pictures(picture, [name], [""]) for name in ("a", "a", "b"))
    assert torch.equal(one, again)
    assert torch.equal(one[:, :, :WIDTH], other[:, :, :WIDTH]), "the noise is not for CLIP"
    assert not torch.allclose(one, other, atol=1e-4)


def test_pictures_of_another_size_are_refused(model: Path) -> None:
    backbone = load(model)
    for shape in ((1, 3, HEIGHT, HEIGHT), (2, 3, HEIGHT, LENGTH)):
        with pytest.raises(ValueError, match=r"pictures must be \[1, 3, 16, 24\], got"):
            backbone.encode_pictures(torch.zeros(shape), ["a"], ["a"])


@torch.no_grad()
def test_the_denoiser_is_told_settings_embedding_and_picture(model: Path, pictures: Path) -> None:
    backbone = load(model, pictures)
    encoded = backbone.encode(PROMPTS[:1])
    noise, sigma = start(backbone, 1), torch.tensor([1.0])
    plain = backbone.denoise(noise, sigma, encoded)
    assert torch.equal(plain, backbone.denoise(noise, sigma, encoded))
    changes: list[dict[str, Any]] = [{"fps": 20}, {"motion_bucket_id": 20}, {"noise_aug_strength": 0.9}]
    for change in changes:
        other = load(model, **change).denoise(noise, sigma, encoded)
        assert not torch.allclose(plain, other, atol=1e-4), change
    for part in (slice(WIDTH), slice(WIDTH, None)):
        without = encoded.clone()
        without[:, :, part] = 0
        assert not torch.allclose(plain, backbone.denoise(noise, sigma, without), atol=1e-4), part


def test_every_frame_needs_the_whole_video_to_be_decoded(model: Path) -> None:
    backbone = load(model, frames=24)
    latents = start(backbone, 1).requires_grad_()
    video = backbone.decode(latents)
    assert video.shape == (1, 24, 3, HEIGHT, LENGTH)
    torch.testing.assert_close(backbone.decode(latents, [23, 0]), video[:, [23, 0]])
    assert video.min() < 0, "not clamped"
    (gradient,) = torch.autograd.grad(video[:, 0].square().sum(), latents)
    assert (gradient[0].abs().amax((0, 2, 3)) > 1e-8).all()


def test_checkpointing_changes_no_number_of_a_step(
    model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metering, "count_flops", lambda *_: (2, 3))
    results, kept = [], []
    for checkpointing in (False, True):
        backbone = load(model, pictures)
        if checkpointing:
            backbone.enable_checkpointing()
        sizes: list[int] = []

        def pack(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        stand = make_stand(backbone, steps=2)
        method = stand.method("vader", batch_size=2, lora_rank=2, learning_rate=1e-3, k=1)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            results.append((method.step(2), method.lora.state()))
        kept.append(sum(sizes))
    torch.testing.assert_close(results[0], results[1])
    assert kept[1] < kept[0] / 2


def test_the_size_follows_the_settings(model: Path) -> None:
    assert load(model).latent_shape == (4, 3, 8, 12)
    backbone = load(model, frames=2, height=32, width=8)
    assert backbone.latent_shape == (4, 2, 16, 4)
    with torch.no_grad():
        latents = start(backbone, 1)
        output = backbone.denoise(latents, torch.tensor([1.0]), backbone.encode([""]))
        assert output.shape == latents.shape
        assert backbone.decode(latents).shape == (1, 2, 3, 32, 8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 0}, r"backbone.settings: frames: is 0; it must be at least 1"),
        ({"fsp": 8}, r"backbone.settings: fsp: is not a known key; did you mean 'fps'"),
        ({"noise_aug_strength": -1}, r"noise_aug_strength: is -1; it must be at least 0"),
        ({"width": 11}, r"backbone.settings.width = 11: is not a multiple of 2; choose 10"),
        ({"height": 1}, r"backbone.settings.height = 1: is not a multiple of 2; choose 2"),
        ({"pictures": "./nowhere"}, r"backbone.settings.pictures = './nowhere': is not a folder"),
    ],
)
def test_wrong_settings_are_refused(model: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(model, **settings)


def test_pictures_must_be_named(model: Path) -> None:
    with pytest.raises(UserError, match=r"backbone.settings: pictures: is missing"):
        BACKBONES.get("svd").load(model)


@pytest.mark.parametrize("part", ["unet", "vae", "image_encoder", "scheduler", "feature_extractor"])
def test_a_folder_without_a_part_is_refused(part: str, copy: Path) -> None:
    shutil.rmtree(copy / part)
    with pytest.raises(UserError, match=f"has no folder '{part}'") as error:
        load(copy)
    assert error.value.exit_code is ExitCode.MISSING


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "unet/config.json",
            {"addition_time_embed_dim": 6},
            r"= 24 and 3 \* unet.addition_time_embed_dim = 18; give networks that belong",
        ),
        ("vae/config.json", {"_class_name": "AutoencoderKL"}, r"type 'AutoencoderKL'; give one of"),
        ("scheduler/scheduler_config.json", {"prediction_type": "epsilon"}, r"prediction_type = 'epsilon'"),
        ("feature_extractor/preprocessor_config.json", {"image_mean": [1]}, r"image_mean"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    file: str, change: dict[str, object], message: str, copy: Path
) -> None:
    path = copy / file
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(UserError, match=message):
        load(copy)


@pytest.mark.parametrize(
    ("file", "lost", "bent"),
    [
        (
            "unet/diffusion_pytorch_model.safetensors",
            "mid_block.attentions.0.time_mixer.mix_factor",
            "conv_in.bias",
        ),
        (
            "vae/diffusion_pytorch_model.safetensors",
            "decoder.time_conv_out.weight",
            "encoder.conv_in.bias",
        ),
        (
            "image_encoder/model.safetensors",
            "visual_projection.weight",
            "vision_model.post_layernorm.bias",
        ),
    ],
)
def test_faulty_weights_are_all_told_by_name(file: str, lost: str, bent: str, copy: Path) -> None:
    weights = load_file(copy / file)
    size = list(weights[bent].shape)
    del weights[lost]
    weights |= {bent: torch.ones(3), "more": torch.ones(1)}
    save_file(weights, copy / file, {"format": "pt"})
    with pytest.raises(UserError) as error:
        load(copy)
    assert error.value.given == str((copy / file).parent)
    assert error.value.wrong.split("; ") == [
        f"lacks {lost}",
        "has an unknown more",
        f"has {bent} of shape [3], not {size}",
    ]
