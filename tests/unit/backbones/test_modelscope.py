from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.deprecated.text_to_video_synthesis.pipeline_text_to_video_synth import (
    TextToVideoSDPipeline,
)
from safetensors.torch import load_file, save_file

from tests.support.tiny import save_scheduler
from vader_bench.backbones import BACKBONES, Backbone
from vader_bench.diffusion.sampler import Sampler
from vader_bench.errors import ExitCode, UserError
from vader_bench.seeding import torch_stream

PROMPTS = ["a red cat", "a very, very long sentence"]


def load(folder: Path, **settings: object) -> Backbone:
    return BACKBONES.get("modelscope").load(folder, **settings)


@pytest.fixture
def copy(tiny_pipeline: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_pipeline, tmp_path / "model"))


def test_half_precision_weights_are_read_as_float32(copy: Path) -> None:
    wide = load(copy, frames=4)
    wide.denoiser.half().save_pretrained(copy / "unet")  # type: ignore[operator] # diffusers' own method
    narrow = load(copy, frames=4)
    assert all(p.dtype == torch.float32 for p in narrow.denoiser.parameters())
    halves = wide.denoiser.state_dict()
    assert all(torch.equal(halves[name].float(), p) for name, p in narrow.denoiser.state_dict().items())


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_a_video_is_that_of_the_pipeline_of_diffusers(tiny_pipeline: Path, guidance: float) -> None:
    theirs = TextToVideoSDPipeline.from_pretrained(tiny_pipeline)
    theirs.set_progress_bar_config(disable=True)
    ours = load(tiny_pipeline, frames=4)
    start = torch.randn(2, *ours.latent_shape, generator=torch_stream(0, "start"))
    expected = theirs(
        PROMPTS,
        num_frames=4,
        num_inference_steps=5,
        guidance_scale=guidance,
        latents=start,
        output_type="pt",
    ).frames
    sampler = Sampler(ours.denoise, ours.schedule, steps=5, eta=0.0, guidance=guidance)
    latents = sampler.plain(start, ours.encode(PROMPTS), ours.encode([""]))
    with torch.no_grad():
        video = ours.decode(latents).clamp(0, 1)
    assert video.shape == (2, 4, 3, 8, 8)
    torch.testing.assert_close(video, expected, atol=1e-4, rtol=1e-4)


def test_a_frame_is_decoded_by_itself(tiny_backbone: Backbone) -> None:
    latents = torch.randn(2, *tiny_backbone.latent_shape, generator=torch_stream(0, "start"))
    some = tiny_backbone.decode(latents, [3, 1])
    assert some.shape == (2, 2, 3, 8, 8)
    torch.testing.assert_close(some, tiny_backbone.decode(latents)[:, [3, 1]])


def test_decoded_pictures_are_not_clamped(tiny_backbone: Backbone) -> None:
    latents = 30 * torch.randn(2, *tiny_backbone.latent_shape, generator=torch_stream(0, "start"))
    pictures = tiny_backbone.decode(latents)
    assert pictures.min() < 0
    assert pictures.max() > 1


def test_a_prompt_that_does_not_fit_is_refused(tiny_backbone: Backbone) -> None:
    assert tiny_backbone.encode(["x" * 30]).shape == (1, 32, 16)
    with pytest.raises(UserError, match="has 33 tokens, the text encoder reads 32; shorten it"):
        tiny_backbone.encode(["fine", "x" * 31])


def test_the_size_follows_the_settings(tiny_pipeline: Path) -> None:
    assert load(tiny_pipeline).latent_shape == (4, 16, 4, 4)
    assert load(tiny_pipeline, frames=2, height=16, width=24).latent_shape == (4, 2, 8, 12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 0}, r"backbone.settings: frames: is 0; it must be at least 1"),
        ({"fps": 8}, r"backbone.settings: fps: is not a known key; choose one of: frames"),
        ({"width": 9}, r"backbone.settings.width = 9: is not a multiple of 2; choose 8"),
    ],
)
def test_wrong_settings_are_refused(tiny_pipeline: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(tiny_pipeline, **settings)


def test_a_folder_without_a_part_is_refused(copy: Path) -> None:
    shutil.rmtree(copy / "vae")
    with pytest.raises(
        UserError, match=r"has no folder 'vae'; give a folder with unet, vae, .* as TextToVideoSDPipeline"
    ) as error:
        load(copy)
    assert error.value.exit_code is ExitCode.MISSING


def test_an_unsupported_scheduler_is_refused_by_file(copy: Path) -> None:
    save_scheduler(copy / "scheduler", clip_sample=True)
    with pytest.raises(UserError, match=r"scheduler_config.json: clip_sample = true"):
        load(copy)


def test_faulty_weights_are_all_told_by_name(copy: Path) -> None:
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["conv_in.bias"]
    weights |= {"more": torch.ones(1), "conv_out.bias": torch.ones(3)}
    save_file(weights, path)
    with pytest.raises(UserError) as error:
        load(copy)
    assert error.value.wrong == (
        "lacks conv_in.bias; has an unknown more; has conv_out.bias of shape [3], not [4]"
    )


@pytest.mark.parametrize("steps", [1, 2, 10, 7, 999, 1000, 1001])
def test_what_checks_ask_is_what_the_model_has(steps: int, packaged: Backbone) -> None:
    outline = BACKBONES.get("modelscope").outline("pocket/text-to-video", frames=8)
    assert outline.frames == packaged.frames == 8

    def told(timesteps: Callable[[int], object]) -> str:
        try:
            return str([int(step) for step in timesteps(steps)])  # type: ignore[attr-defined]
        except UserError as error:
            return str(error)

    assert told(outline.timesteps) == told(packaged.schedule.timesteps)


@pytest.fixture(scope="module")
def packaged() -> Backbone:
    return BACKBONES.get("modelscope").skeleton("pocket/text-to-video", frames=8)


def test_packaged_weights_refuse_the_prompts_that_the_model_refuses() -> None:
    read = BACKBONES.get("modelscope").reader("pocket/text-to-video")
    assert read is not None
    read("a red dog is running on the grass")
    for prompt in ("a dog " * 12, "1, 2, 3, 4, " * 6):
        with pytest.raises(UserError, match="tokens, the text encoder reads 24"):
            read(prompt)
