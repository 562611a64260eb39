"""Wan from picture to video: what diffusers' pipeline makes of the same noise, picture and text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.wan import pipeline_wan_i2v
from PIL import Image
from transformers import CLIPImageProcessor

from tests.support.flow import wan_image_pipeline, wan_pipeline
from vader_bench.backbones import BACKBONES
from vader_bench.backbones.detailed import with_details
from vader_bench.backbones.wan_image import WanImage
from vader_bench.diffusion.sampler import Sampler
from vader_bench.errors import UserError

SIZE: dict[str, Any] = {"frames": 5, "height": 32, "width": 48, "tokens": 32}


@pytest.fixture(scope="module", params=["clip", "experts"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pipeline(kind: str, tiny_pipeline: Path) -> Any:
    return wan_image_pipeline(tiny_pipeline / "tokenizer", experts=kind == "experts")


@pytest.fixture(scope="module")
def folder(pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wan-i2v")
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth pictures of the videos' size, whose short side is CLIP's."""
    folder, rows = tmp_path_factory.mktemp("pictures"), np.linspace(0, 255, 48)
    for index, name in enumerate(("a cat", "a dog")):
        grey = np.broadcast_to(np.roll(rows, 11 * index), (32, 48))
        Image.fromarray(np.stack([grey, grey[:, ::-1], grey], axis=2).astype(np.uint8)).save(
            folder / f"{name}.png"
        )
    return folder


def load(folder: Path, pictures: Path, **settings: Any) -> WanImage:
    found = BACKBONES.get("wan-i2v").load(folder, **(SIZE | {"pictures": str(pictures)} | settings))
    assert isinstance(found, WanImage)
    return found


@torch.no_grad()
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_videos_are_those_of_the_pipeline(
    pipeline: Any, folder: Path, pictures: Path, guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_wan_i2v, "prompt_clean", str)
    inner = load(folder, pictures)
    backbone = with_details(inner, {}, "ugly")
    start = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(3))
    encoded = backbone.encode(["a cat", "a dog"])
    sampler = Sampler(backbone.denoise, backbone.schedule, 4, 0.0, guidance)
    latents = sampler.plain(start, encoded, backbone.unconditional(encoded))
    video = backbone.decode(latents)
    plain = inner.encode(["a cat", "a dog"])
    other = Sampler(inner.denoise, inner.schedule, 4, 0.0, guidance).plain(
        start, plain, inner.unconditional(plain)
    )
    assert torch.allclose(latents, other, atol=1e-4) == (guidance == 1)
    for row, name in enumerate(("a cat", "a dog")):
        asked: dict[str, Any] = {
            "num_frames": 5,
            "height": 32,
            "width": 48,
            "num_inference_steps": 4,
            "max_sequence_length": 32,
        }
        asked |= {"latents": start[row : row + 1], "guidance_scale": guidance, "negative_prompt": "ugly"}
        picture = Image.open(pictures / f"{name}.png")
        theirs = pipeline(picture, name, output_type="latent", **asked).frames
        torch.testing.assert_close(latents[row : row + 1], theirs, atol=1e-4, rtol=1e-3)
        theirs = pipeline(picture, name, output_type="pt", **asked).frames
        torch.testing.assert_close(video[row : row + 1].clamp(0, 1), theirs, atol=1e-4, rtol=1e-3)


def test_clip_sees_what_its_processor_makes_of_a_larger_picture(
    kind: str, folder: Path, pictures: Path
) -> None:
    """Within one of 256 steps: Pillow rounds after each of two passes."""
    if kind == "experts":
        pytest.skip("has no CLIP")
    large = Image.open(pictures / "a cat.png").resize((150, 100))
    seen = load(folder, pictures).modules()[-1](
        torch.from_numpy(np.asarray(large) / 255).permute(2, 0, 1).float()
    )
    theirs = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)(large, return_tensors="pt")
    torch.testing.assert_close(seen, theirs["pixel_values"][0], atol=1.01 / 255 / 0.26, rtol=0)


@torch.no_grad()
def test_text_and_picture_both_matter(folder: Path, pictures: Path) -> None:
    backbone = load(folder, pictures)
    encoded = backbone.encode(["a cat", "a dog"])
    assert encoded.shape[1:] == backbone.text_shape
    latents = torch.ones(2, *backbone.latent_shape)
    timesteps = torch.full((2,), 950.0)
    cat = backbone.denoise(latents, timesteps, encoded)[0]
    swapped = backbone.with_texts(encoded, ["a dog", "a cat"])
    other_text, other_picture = backbone.denoise(latents, timesteps, swapped)
    assert not torch.allclose(cat, other_text, atol=1e-4)
    assert not torch.allclose(cat, other_picture, atol=1e-4)
    torch.testing.assert_close(backbone.with_texts(swapped, ["a cat", "a dog"]), encoded)


def test_prompts_without_a_picture_and_too_long_ones_are_refused(folder: Path, pictures: Path) -> None:
    factory = BACKBONES.get("wan-i2v")
    settings = SIZE | {"pictures": str(pictures)}
    named, read = factory.picture_reader(**settings), factory.reader(str(folder), **settings)
    assert named is not None
    assert read is not None
    named("a cat")
    with pytest.raises(UserError, match="names no picture"):
        named("a bird")
    read("a bird")
    with pytest.raises(UserError, match="the text encoder reads 32"):
        read("x" * 40)


def test_folders_that_do_not_fit_are_refused(
    kind: str, folder: Path, pictures: Path, tmp_path: Path, tiny_pipeline: Path
) -> None:
    model = Path(shutil.copytree(folder, tmp_path / "model"))
    index = json.loads((model / "model_index.json").read_text("utf-8"))
    (model / "model_index.json").write_text(json.dumps(index | {"expand_timesteps": True}), "utf-8")
    with pytest.raises(UserError, match="puts the picture in place of the first latents"):
        load(model, pictures)
    (model / "model_index.json").write_text(json.dumps(index), "utf-8")
    if kind == "clip":
        shutil.rmtree(model / "image_encoder")
        with pytest.raises(UserError, match=r"has transformer.image_dim = 16 and no image_encoder"):
            load(model, pictures)
    wan_pipeline(tiny_pipeline / "tokenizer").save_pretrained(tmp_path / "text")
    with pytest.raises(UserError, match=r"in_channels = 4 and vae.z_dim and 8 channels of a picture = 12"):
        load(tmp_path / "text", pictures)


def test_a_released_model_is_known_without_its_weights() -> None:
    """16 channels of latents, 4 of the mask, 16 of the picture; 257 states of CLIP's ViT-H."""
    skeleton = BACKBONES.get("wan-i2v").skeleton("hf:Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", pictures="pocket")
    assert skeleton.latent_shape == (16, 21, 60, 104)
    assert skeleton.text_shape == (1, 512 * 4096 + 257 * 1280 + 16 * 21 * 60 * 104)
    count = sum(weight.numel() for weight in skeleton.denoiser.parameters())
    assert 16.0e9 < count < 16.6e9  # called 14B; with CLIP's projections 16.4 billion
    second = BACKBONES.get("wan-i2v").skeleton("hf:Wan-AI/Wan2.2-I2V-A14B-Diffusers", pictures="pocket")
    assert second.boundary == 900
