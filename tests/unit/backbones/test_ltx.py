"""What only LTX-Video has; the rest is in ``test_flow_models``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.flow import ltx_pipeline
from vader_bench.backbones import BACKBONES, Backbone, ltx
from vader_bench.backbones.ltx import LtxSettings
from vader_bench.diffusion.flow import FlowSchedule
from vader_bench.diffusion.sampler import Sampler
from vader_bench.errors import UserError

SIZE: dict[str, object] = {"frames": 3, "height": 32, "width": 32, "tokens": 32}


def load(folder: Path, **settings: object) -> Backbone:
    return BACKBONES.get("ltx").load(folder, **(SIZE | settings))


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


@pytest.fixture
def folder(tmp_path: Path, tiny_pipeline: Path) -> Path:
    ltx_pipeline(tiny_pipeline / "tokenizer").save_pretrained(tmp_path)
    return tmp_path


def test_the_default_size_is_that_of_the_pipeline() -> None:
    wanted = LtxSettings()
    assert (wanted.frames, wanted.height, wanted.width) == (161, 512, 704)
    assert (wanted.fps, wanted.tokens) == (25, 128)


def test_the_shift_depends_on_the_number_of_tokens(folder: Path) -> None:
    for settings, tokens in (({}, 32), ({"frames": 9, "height": 128}, 320)):
        schedule = load(folder, **settings).schedule
        assert isinstance(schedule, FlowSchedule)
        assert schedule.shift == pytest.approx(math.exp(0.95 + 1.1 * (tokens - 1024) / 3072))
        assert (schedule.spacing, schedule.terminal) == ("even", 0.1)


@torch.no_grad()
def test_a_fixed_shift_and_a_decoder_with_a_timestep_are_the_pipelines_too(
    tmp_path: Path, tiny_pipeline: Path
) -> None:
    pipeline = ltx_pipeline(tiny_pipeline / "tokenizer", timestep_conditioning=True, dynamic=False)
    pipeline.save_pretrained(tmp_path)
    backbone = load(tmp_path)
    assert isinstance(backbone.schedule, FlowSchedule)
    assert backbone.schedule.shift == 2
    latents = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    theirs = pipeline(
        ["a", "b"],
        num_frames=3,
        height=32,
        width=32,
        num_inference_steps=4,
        guidance_scale=1.0,
        latents=latents.flatten(2).transpose(1, 2),
        max_sequence_length=32,
        output_type="pt",
    ).frames
    encoded = backbone.encode(["a", "b"])
    clean = Sampler(backbone.denoise, backbone.schedule, 4, 0.0, 1.0).plain(latents, encoded, encoded)
    torch.testing.assert_close(backbone.decode(clean).clamp(0, 1), theirs, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_the_denoiser_is_told_the_pictures_a_second(folder: Path) -> None:
    outputs = []
    for fps in (25, 5):
        backbone = load(folder, fps=fps)
        latents = torch.randn(1, *backbone.latent_shape, generator=torch.Generator().manual_seed(1))
        outputs.append(backbone.denoise(latents, torch.tensor([500.0]), backbone.encode(["a"])))
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-5)


@torch.no_grad()
def test_the_denoiser_does_not_see_the_padding(folder: Path) -> None:
    backbone = load(folder)
    latents, timesteps = torch.ones(1, *backbone.latent_shape), torch.tensor([500.0])
    encoded = backbone.encode(["a cat"])
    words = int(encoded.ne(0).any(2).sum())
    whole, cut = (backbone.denoise(latents, timesteps, part) for part in (encoded, encoded[:, :words]))
    torch.testing.assert_close(whole, cut)
    fewer = backbone.denoise(latents, timesteps, encoded[:, : words - 1])
    assert not torch.allclose(whole, fewer, atol=1e-4)


def test_a_decoder_that_draws_noise_is_refused(tmp_path: Path, tiny_pipeline: Path) -> None:
    ltx_pipeline(tiny_pipeline / "tokenizer", inject_noise=True).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="draws noise of its own, which no seed would repeat"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("transformer", {"in_channels": 4}, r"has transformer.in_channels = 4 and vae.latent_channels = 8"),
        ("transformer", {"patch_size": 2}, r"has a transformer with patches of latents"),
        (
            "text_encoder",
            {"d_model": 8},
            r"has transformer.caption_channels = 16 and text_encoder.d_model = 8",
        ),
        ("vae", {"layers_per_block": [2, 1, 1]}, r"lacks encoder.down_blocks.0.resnets.1.conv1.conv.bias; "),
    ],
)
def test_networks_that_do_not_fit_are_refused(
    part: str, changes: dict[str, Any], message: str, folder: Path
) -> None:
    change(folder / part / "config.json", **changes)
    with pytest.raises(UserError, match=message):
        load(folder)


@torch.no_grad()
def test_a_decoder_is_told_of_the_noise_that_its_latents_get(
    tmp_path: Path, tiny_pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the pipeline of version 0.9.1, whose noise is the first that its generator gives."""
    pipeline = ltx_pipeline(tiny_pipeline / "tokenizer", timestep_conditioning=True, dynamic=False)
    pipeline.save_pretrained(tmp_path)
    monkeypatch.setattr(ltx, "torch_stream", lambda *_: torch.Generator().manual_seed(7))
    start = torch.randn(1, *load(tmp_path).latent_shape, generator=torch.Generator().manual_seed(0))

    def ours(**settings: object) -> torch.Tensor:
        backbone = load(tmp_path, **settings)
        encoded = backbone.encode(["a"])
        clean = Sampler(backbone.denoise, backbone.schedule, 4, 0.0, 1.0).plain(start, encoded, encoded)
        return backbone.decode(clean).clamp(0, 1)

    def theirs(**arguments: float) -> torch.Tensor:
        frames: torch.Tensor = pipeline(
            ["a"],
            num_frames=3,
            height=32,
            width=32,
            num_inference_steps=4,
            guidance_scale=1.0,
            latents=start.flatten(2).transpose(1, 2),
            generator=torch.Generator().manual_seed(7),
            max_sequence_length=32,
            output_type="pt",
            **arguments,
        ).frames
        return frames

    plain = ours()
    for arguments in ({"decode_timestep": 0.05}, {"decode_timestep": 0.5, "decode_noise_scale": 0.25}):
        wanted = theirs(**arguments)
        torch.testing.assert_close(ours(**arguments), wanted, atol=2e-5, rtol=1e-4)
        assert (wanted - plain).abs().max() > 1e-3


@torch.no_grad()
def test_the_noise_of_the_decoder_is_the_same_alone_and_beside_others(
    tmp_path: Path, tiny_pipeline: Path
) -> None:
    ltx_pipeline(tiny_pipeline / "tokenizer", timestep_conditioning=True).save_pretrained(tmp_path)
    backbone = load(tmp_path, decode_timestep=0.5)
    latents = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    together = backbone.decode(latents)
    torch.testing.assert_close(together[1:], backbone.decode(latents[1:]))
    torch.testing.assert_close(together, backbone.decode(latents))


def test_a_decoder_without_a_timestep_is_told_none(folder: Path) -> None:
    for settings in ({"decode_timestep": 0.05}, {"decode_noise_scale": 0.025}):
        with pytest.raises(UserError, match=r"decoder takes no timestep.*; leave out decode_timestep"):
            load(folder, **settings)


def test_prompts_are_read_as_they_are(folder: Path) -> None:
    """The pipeline of LTX cleans nothing: what HTML would mean is read letter by letter."""
    backbone = load(folder)
    assert not torch.equal(backbone.encode(["a &amp; b"]), backbone.encode(["a & b"]))
