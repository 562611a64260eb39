"""What only Wan has; the rest is in ``test_flow_models``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UniPCMultistepScheduler

from tests.support.flow import wan_pipeline
from vader_bench.backbones import BACKBONES, Backbone
from vader_bench.backbones.wan import Experts, WanSettings, clean_prompt
from vader_bench.diffusion.flow import FlowSchedule
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
