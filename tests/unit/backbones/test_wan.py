"""What only Wan has; the rest is in ``test_flow_models``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UniPCMultistepScheduler, WanPipeline
from diffusers.pipelines.wan import pipeline_wan

from tests.support.flow import wan_pipeline
from vader_bench.backbones import BACKBONES, Backbone
from vader_bench.backbones.wan import Experts, WanSettings, clean_prompt
from vader_bench.diffusion.flow import FlowSchedule
from vader_bench.diffusion.sampler import Sampler
from vader_bench.errors import UserError

SIZE: dict[str, object] = {"frames": 5, "height": 16, "width": 16, "tokens": 32}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path) -> Path:
    folder = tmp_path_factory.mktemp("wan")
    wan_pipeline(tiny_pipeline / "tokenizer", experts=True).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def load(folder: Path, **settings: object) -> Backbone:
    return BACKBONES.get("wan").load(folder, **(SIZE | settings))


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


def test_the_default_size_is_that_of_the_pipeline() -> None:
    wanted = WanSettings()
    assert (wanted.frames, wanted.height, wanted.width, wanted.tokens) == (81, 480, 832, 512)


@torch.no_grad()
def test_each_expert_has_its_part_of_the_way(saved: Path) -> None:
    backbone = load(saved)
    experts = backbone.denoiser
    assert isinstance(experts, Experts)
    assert experts.boundary == 875
    latents, encoded = torch.ones(2, *backbone.latent_shape), backbone.encode(["a", "b"])
    for timestep, expert, other in (
        (875.0, experts.high, experts.low),
        (874.9, experts.low, experts.high),
    ):
        timesteps = torch.full((2,), timestep)
        found = backbone.denoise(latents, timesteps, encoded)
        torch.testing.assert_close(found, expert(latents, timesteps, encoded).sample)
        assert not torch.allclose(found, other(latents, timesteps, encoded).sample, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("size", ["1GB", "20KB"])
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
def test_a_folder_may_have_every_layout_that_diffusers_writes(
    saved: Path, tmp_path: Path, variant: str | None, size: str, safe: bool
) -> None:
    wanted = load(saved)
    pipeline = WanPipeline.from_pretrained(saved)
    pipeline.save_pretrained(tmp_path, variant=variant, max_shard_size=size, safe_serialization=safe)
    parts = [path for path in (tmp_path / "transformer_2").iterdir() if path.suffix != ".json"]
    assert (len(parts) > 1) == (size == "20KB")
    assert all((variant or "") in path.name and (path.suffix == ".bin") != safe for path in parts)
    found = load(tmp_path)
    for ours, theirs in zip(found.modules(), wanted.modules(), strict=True):
        for name, weight in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], weight), name


def test_experts_need_a_boundary_and_a_boundary_experts(copy: Path) -> None:
    change(copy / "model_index.json", boundary_ratio=None)
    with pytest.raises(UserError, match="has transformer and transformer_2, and boundary_ratio = None"):
        load(copy)
    change(copy / "model_index.json", boundary_ratio=0.9)
    assert load(copy).denoiser.boundary == pytest.approx(900)
    shutil.rmtree(copy / "transformer_2")
    with pytest.raises(UserError, match=r"has transformer, and boundary_ratio = 0.9"):
        load(copy)


def test_the_released_folders_scheduler_gives_its_timesteps(copy: Path) -> None:
    theirs = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0)
    theirs.save_pretrained(copy / "scheduler")
    schedule = load(copy).schedule
    assert isinstance(schedule, FlowSchedule)
    assert (schedule.shift, schedule.spacing) == (5.0, "unipc")
    theirs.set_timesteps(4)
    torch.testing.assert_close(schedule.timesteps(4), 1000 * theirs.sigmas[:-1], rtol=2e-6, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("scales", [(6.0, 2.0), (1.0, 4.0), (4.0, 4.0)])
def test_each_network_has_a_guidance_of_its_own(
    saved: Path, scales: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pipeline's ``guidance_scale_2``, on both sides of the boundary. It does not guide at all from 1."""
    monkeypatch.setattr(pipeline_wan, "prompt_clean", lambda text: " ".join(text.split()))
    backbone = load(saved)
    encoded = backbone.encode(["a cat", "a dog"])
    start = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(3))
    guidance = backbone.guidance(*scales)
    assert (guidance == scales[0]) == (scales[0] == scales[1])
    sampler = Sampler(backbone.denoise, backbone.schedule, 6, 0.0, guidance)
    steps = [float(now[0]) for now, _ in sampler.ladder(start)]
    assert min(steps) < 875 < max(steps)
    found = sampler.plain(start, encoded, backbone.unconditional(encoded))
    first, second = scales
    wanted = WanPipeline.from_pretrained(saved)
    wanted.set_progress_bar_config(disable=True)
    theirs = wanted(
        ["a cat", "a dog"], num_frames=5, height=16, width=16, num_inference_steps=6, latents=start,
        max_sequence_length=32, output_type="latent", guidance_scale=max(first, 1 + 1e-9),
        guidance_scale_2=second,
    ).frames  # fmt: skip
    torch.testing.assert_close(found, theirs, atol=2e-5, rtol=1e-4)


def test_a_second_guidance_needs_a_second_network(saved: Path, tmp_path: Path, tiny_pipeline: Path) -> None:
    wan_pipeline(tiny_pipeline / "tokenizer").save_pretrained(tmp_path)
    assert load(tmp_path).guidance(3.0, None) == 3.0
    with pytest.raises(UserError, match=r"guidance_2 = 4: is for the second of two networks"):
        load(tmp_path).guidance(3.0, 4.0)
    outline = BACKBONES.get("wan").outline(str(saved), **SIZE)
    assert outline.boundary == 875


@torch.no_grad()
def test_a_timestep_for_each_token_is_one_for_all(saved: Path) -> None:
    """Wan 2.2's 5B model tells every token its timestep; without a first picture they are all the same."""
    backbone = load(saved)
    assert isinstance(backbone.denoiser, Experts)
    latents, encoded = torch.ones(2, *backbone.latent_shape), backbone.encode(["a", "b"])
    network, timesteps = backbone.denoiser.high, torch.tensor([900.0, 920.0])
    each = timesteps[:, None].expand(2, 2)  # 2 frames of 1 x 1 patches
    wanted = network(latents, each, encoded).sample
    torch.testing.assert_close(network(latents, timesteps, encoded).sample, wanted, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_latents_are_normalised_channel_by_channel(saved: Path) -> None:
    backbone = load(saved)
    vae: Any = backbone.modules()[2]
    latents = torch.randn(1, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(vae.config[f"latents_{name}"]).reshape(-1, 1, 1, 1) for name in ("mean", "std"))
    wanted = vae.decode(latents * std + mean).sample / 2 + 0.5
    torch.testing.assert_close(backbone.decode(latents), wanted.transpose(1, 2))


def test_a_pictures_gradient_reaches_all_latents_before_it_and_none_after(saved: Path) -> None:
    backbone = load(saved, frames=9)
    latents = torch.zeros(1, *backbone.latent_shape, requires_grad=True)
    backbone.decode(latents, [4]).sum().backward()  # the last picture of the second frame of latents
    assert latents.grad is not None
    reached = latents.grad.abs().sum(dim=(0, 1, 3, 4)) > 0
    assert reached.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("vae", {"z_dim": 8}, r"has transformer.in_channels = 4 and vae.z_dim = 8"),
        ("text_encoder", {"d_model": 8}, r"has transformer.text_dim = 16 and text_encoder.d_model = 8"),
        ("transformer", {"num_layers": 3}, r"lacks blocks.2.attn1.norm_k.weight; lacks "),
    ],
)
def test_networks_that_do_not_fit_are_refused(
    part: str, changes: dict[str, Any], message: str, copy: Path
) -> None:
    change(copy / part / "config.json", **changes)
    with pytest.raises(UserError, match=message):
        load(copy)


def test_prompts_are_cleaned_as_diffusers_does_it() -> None:
    """ftfy first, then HTML twice, then white space; values by hand from ftfy's documentation."""
    assert clean_prompt(" a  cat &amp;amp; a\n dog ") == "a cat & a dog"
    assert clean_prompt("\u201cA cat\u201d \uff21 cafÃ©") == '"A cat" A café'
