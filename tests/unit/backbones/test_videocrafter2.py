from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.support.videocrafter2 import SIZES, empty_networks, random_weights, write_model
from vader_bench.backbones import BACKBONES, Backbone, videocrafter2
from vader_bench.backbones.videocrafter2 import VideoCrafter2Config, VideoCrafter2Settings
from vader_bench.errors import ExitCode, UserError
from vader_bench.seeding import torch_stream

PROMPTS = ["a red cat", "a very, very long sentence"]
METHODS: dict[str, dict[str, Any]] = {
    "vader": {"k": 2},
    "ddpo": {"prompts_per_round": 2, "samples_per_prompt": 2},
    "diffusion-dpo": {},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path) -> Path:
    """A tiny model as the release has it: pictures of 8 x 8 in 4 frames."""
    return write_model(tmp_path_factory.mktemp("videocrafter2") / "model", tiny_pipeline / "tokenizer")


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "model"))


def load(folder: Path, **settings: object) -> Backbone:
    return BACKBONES.get("videocrafter2").load(folder, **({"height": 8, "width": 8} | settings))


def start(backbone: Backbone, videos: int = 2) -> Tensor:
    return torch.randn(videos, *backbone.latent_shape, generator=torch_stream(0, "start"))


def test_the_released_networks_have_their_known_sizes() -> None:
    sizes = [
        sum(weight.numel() for weight in network.parameters())
        for network in empty_networks(VideoCrafter2Config())
    ]
    # the first stage of Stable Diffusion; the text tower of ViT-H-14 without what compares it with pictures
    assert sizes == [1_413_284_420, 83_653_863, 352_984_064]


def test_the_released_model_makes_videos_of_its_own_size() -> None:
    wanted = VideoCrafter2Settings()
    assert videocrafter2._latent_shape(VideoCrafter2Config(), wanted) == (4, 16, 40, 64)


@pytest.mark.parametrize("kind", ["plain", "lightning", "deepspeed"])
def test_a_pickled_checkpoint_in_half_precision_gives_the_same_model(
    kind: str, model: Path, copy: Path
) -> None:
    weights = {name: value.half() for name, value in load_file(model / "model.safetensors").items()}
    (copy / "model.safetensors").unlink()
    content: dict[str, Any] = {"state_dict": weights}
    if kind == "deepspeed":
        content = {"module": {f"_forward_module.{name}": value for name, value in weights.items()}}
    torch.save(weights if kind == "plain" else content, copy / "model.ckpt")
    first, second = load(model), load(copy)
    for ours, theirs in zip(first.modules(), second.modules(), strict=True):
        halves = theirs.state_dict()
        for name, weight in ours.state_dict().items():
            assert torch.equal(weight.half().float(), halves[name]), name


@torch.no_grad()
def test_text_is_filled_with_token_0_and_read_before_the_last_layer(model: Path) -> None:
    backbone = load(model)
    assert isinstance(backbone, videocrafter2.VideoCrafter2)
    encoded = backbone.encode(PROMPTS)
    assert encoded.shape == (2, 32, 16)
    assert backbone._tokenizer is not None
    words = backbone._tokenizer(PROMPTS[0]).input_ids
    ids = torch.tensor([words + [0] * (32 - len(words))])
    tower = backbone._text_encoder.text_model
    states = tower(ids, output_hidden_states=True).hidden_states
    assert len(states) == 3
    torch.testing.assert_close(encoded[:1], tower.final_layer_norm(states[1]))
    assert not torch.allclose(encoded[:1], tower(ids).last_hidden_state, atol=1e-2)


def test_a_prompt_that_does_not_fit_is_refused(model: Path) -> None:
    backbone = load(model)
    assert backbone.encode(["x" * 30]).shape == (1, 32, 16)
    with pytest.raises(UserError, match="has 33 tokens, the text encoder reads 32; shorten it"):
        backbone.encode(["fine", "x" * 31])


@torch.no_grad()
def test_the_denoiser_is_told_the_frame_rate_of_the_settings(model: Path) -> None:
    outputs = []
    for fps in (24, 8):
        backbone = load(model, fps=fps)
        latents, encoded = start(backbone, 1), backbone.encode(["a cat"])
        outputs.append(backbone.denoise(latents, torch.tensor([481]), encoded))
        direct = backbone.denoiser(latents, torch.tensor([481]), encoded, torch.tensor([fps]))
        assert torch.equal(outputs[-1], direct)
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-3)


@torch.no_grad()
def test_a_frame_is_decoded_by_itself_and_not_clamped(model: Path) -> None:
    backbone = load(model)
    latents = start(backbone)
    video = backbone.decode(latents)
    assert video.shape == (2, 4, 3, 8, 8)
    torch.testing.assert_close(backbone.decode(latents, [3, 1]), video[:, [3, 1]])
    assert isinstance(backbone, videocrafter2.VideoCrafter2)
    picture = backbone._first_stage.decode(latents[:1, :, 2] / 0.18215).sample
    torch.testing.assert_close(video[:1, 2], picture / 2 + 0.5)
    assert video.min() < 0
    assert video.max() > 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 0}, r"backbone.settings: frames: is 0; it must be at least 1"),
        ({"fsp": 8}, r"backbone.settings: fsp: is not a known key; did you mean 'fps'"),
        ({"fps": "8"}, r"backbone.settings: fps: is '8', not a whole number"),
        ({"width": 10}, r"backbone.settings.width = 10: is not a multiple of 4; choose 8"),
        ({"height": 3}, r"backbone.settings.height = 3: is not a multiple of 4; choose 4"),
    ],
)
def test_wrong_settings_are_refused(model: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(model, **settings)


def test_the_size_follows_the_settings(model: Path) -> None:
    assert load(model).latent_shape == (4, 4, 4, 4)
    backbone = load(model, frames=2, height=16, width=24)
    assert backbone.latent_shape == (4, 2, 8, 12)
    with torch.no_grad():
        latents = start(backbone, 1)
        output = backbone.denoise(latents, torch.tensor([1]), backbone.encode(["a"]))
        assert output.shape == latents.shape
        assert backbone.decode(latents).shape == (1, 2, 3, 16, 24)


def test_sizes_may_be_yaml(copy: Path) -> None:
    (copy / "config.json").rename(copy / "config.yaml")  # JSON is YAML
    assert load(copy).latent_shape == (4, 4, 4, 4)


def test_without_sizes_the_checkpoint_must_be_the_released_one(copy: Path) -> None:
    (copy / "config.json").unlink()
    with pytest.raises(UserError, match="the text encoder 49408; give the tokenizer"):
        load(copy, height=64, width=64)
    (copy / "config.json").write_text(json.dumps({"text": {"vocab_size": 514}}), "utf-8")
    # the released text encoder has 24 blocks, the tiny one 2; of thousands of faults the first are named
    lacks = r"lacks cond_stage_model\.model\.transformer\.resblocks\.10\..* and \d{4} more; give a whole"
    with pytest.raises(UserError, match=lacks):
        load(copy, height=64, width=64)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("unet", {"chanel_mult": [1]}, r"unet.chanel_mult: is not a known key; did you mean 'channel_mult'"),
        ("unet", {"context_dim": 24}, r"has unet.context_dim = 24 and text.width = 16; make them equal"),
        ("first_stage", {"z_channels": 8}, r"has unet.in_channels = 4 and first_stage.z_channels = 8"),
        ("unet", {"num_head_channels": 24}, r"has attention of width 32 and heads of width 24"),
        ("unet", {"channel_mult": [1, 0]}, r"unet.channel_mult.1: is 0; it must be above 0"),
        ("text", {"heads": 3}, r"has width 16 and 3 heads; choose heads so that they divide the width"),
    ],
)
def test_wrong_sizes_are_refused_by_file(
    part: str, change: dict[str, object], message: str, copy: Path
) -> None:
    (copy / "config.json").write_text(json.dumps(SIZES | {part: SIZES[part] | change}), "utf-8")
    with pytest.raises(UserError, match=rf"config.json: .*{message}"):
        load(copy)


def test_faulty_weights_are_all_told_by_name(copy: Path) -> None:
    weights = random_weights()
    del weights["first_stage_model.decoder.up.1.block.0.conv1.weight"]
    weights["cond_stage_model.model.transformer.resblocks.1.attn.in_proj_bias"] = torch.ones(3)
    weights["model_ema.decay"] = torch.ones(1)
    save_file(weights, copy / "model.safetensors")
    with pytest.raises(UserError) as error:
        load(copy)
    assert error.value.given.endswith("model.safetensors")
    assert error.value.wrong.split("; ") == [
        "lacks first_stage_model.decoder.up.1.block.0.conv1.weight",
        "has an unknown model_ema.decay",
        "has cond_stage_model.model.transformer.resblocks.1.attn.in_proj_bias of shape [3], not [48]",
    ]


@pytest.mark.parametrize("name", ["alphas_cumprod", "scale_arr"])
def test_a_checkpoint_of_another_schedule_is_refused(name: str, copy: Path) -> None:
    schedule = videocrafter2.videocrafter2_schedule()
    assert schedule.scale is not None
    longer = torch.cat([schedule.scale, torch.full((400,), 0.7)])
    tables = {"alphas_cumprod": schedule.alphas_cumprod, "scale_arr": longer}
    weights = random_weights() | tables
    save_file(weights, copy / "model.safetensors")
    assert load(copy).schedule.timesteps(2).tolist() == [501, 1]
    for wrong in (tables[name] * 0.99, tables[name][:500].clone()):
        save_file(weights | {name: wrong}, copy / "model.safetensors")
        with pytest.raises(UserError, match=f"was trained with another {name}"):
            load(copy)


def test_a_folder_without_a_checkpoint_or_tokenizer_is_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has neither model.safetensors nor model.ckpt"):
        load(copy)
    (copy / "tokenizer" / "merges.txt").unlink()
    save_file(random_weights(), copy / "model.safetensors")
    with pytest.raises(UserError, match=r"tokenizer: has no merges.txt; save the CLIPTokenizer") as error:
        load(copy)
    assert error.value.exit_code is ExitCode.MISSING


def test_the_sampler_ends_with_noise_as_the_original_does() -> None:
    schedule = videocrafter2.videocrafter2_schedule()
    ladder = schedule.timesteps(25)
    assert ladder.tolist() == list(range(961, 0, -40))
    assert schedule.previous(ladder, 25)[-1] == 0
    assert schedule.prediction_type == "epsilon"
    assert schedule.scale is not None
    assert schedule.scale[[0, 399, 999]].tolist() == pytest.approx([1.0, 0.7, 0.7])


def test_a_tokenizer_may_lie_elsewhere_since_the_release_has_none(copy: Path, tmp_path: Path) -> None:
    shutil.move(copy / "tokenizer", tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"model/tokenizer: has no vocab.json"):
        load(copy)
    assert load(copy, tokenizer=str(tmp_path / "elsewhere")).encode(PROMPTS).shape[0] == 2
