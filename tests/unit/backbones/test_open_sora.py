from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.support.open_sora import SIZES, write_model
from vader_bench.backbones import BACKBONES
from vader_bench.backbones.open_sora import OpenSora, OpenSoraSettings, clean_prompt
from vader_bench.backbones.stdit3 import Format, STDiT3
from vader_bench.errors import ExitCode, UserError
from vader_bench.seeding import torch_stream

PROMPTS = ["a red cat", "a very long sentence"]
METHODS: dict[str, dict[str, Any]] = {
    "vader": {"k": 2},
    "ddpo": {"prompts_per_round": 2, "samples_per_prompt": 2},
    "diffusion-dpo": {},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path) -> Path:
    """A tiny model as the release has it: 17 pictures of 8 x 6."""
    return write_model(tmp_path_factory.mktemp("open-sora") / "model", tiny_pipeline / "tokenizer")


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "model"))


def load(folder: Path, **settings: object) -> OpenSora:
    given = {"frames": 17, "height": 8, "width": 6} | settings
    backbone = BACKBONES.get("open-sora-1.2").load(folder, **given)
    assert isinstance(backbone, OpenSora)
    return backbone


def start(backbone: OpenSora, videos: int = 2) -> Tensor:
    return torch.randn(videos, *backbone.latent_shape, generator=torch_stream(0, "start"))


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(path.read_text("utf-8"))
    change(data)
    path.write_text(json.dumps(data), "utf-8")


def test_a_tiny_model_in_the_released_layout_is_read_as_it_was_written(model: Path) -> None:
    backbone = load(model)
    denoiser, text_encoder, vae = backbone.modules()
    for part, network in (("transformer", denoiser), ("vae", vae), ("text_encoder", text_encoder)):
        stored = load_file(model / part / "model.safetensors")
        state = network.state_dict()
        assert {name for name in state if name in stored} == set(stored)
        for name, weight in stored.items():
            assert torch.equal(state[name], weight.float()), name
    names = set(load_file(model / "vae" / "model.safetensors"))
    assert {"scale", "shift", "spatial_vae.module.quant_conv.weight"} <= names
    assert "temporal_vae.decoder.conv_out.conv.weight" in names


def test_sizes_and_schedule_are_those_of_the_settings(model: Path) -> None:
    assert OpenSoraSettings().model_dump() == {
        "frames": 51, "height": 276, "width": 368, "fps": 24, "suffix": " aesthetic score: 6.5.",
        "vae": None, "text_encoder": None, "long_prompts": "refuse",
    }  # fmt: skip
    backbone = load(model, frames=51, height=9, width=15)
    assert backbone.latent_shape == (4, 15, 4, 7)
    assert backbone.frames == 51
    assert backbone.schedule.timesteps(3)[0] == 1000
    assert backbone.schedule.timesteps(3)[1] < load(model, frames=51, height=512).schedule.timesteps(3)[1]
    assert load(model, frames=1).latent_shape == (4, 1, 4, 3)


def test_parts_may_lie_apart_as_they_are_released(model: Path, tmp_path: Path) -> None:
    text = Path(shutil.copytree(model / "text_encoder", tmp_path / "text"))
    shutil.copytree(model / "tokenizer", text, dirs_exist_ok=True)
    apart: dict[str, object] = {"vae": str(model / "vae"), "text_encoder": str(text)}
    whole, made = load(model), load(model / "transformer", **apart)
    states = [[module.state_dict() for module in backbone.modules()] for backbone in (whole, made)]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    assert torch.equal(whole.encode(["a cat"]), made.encode(["a cat"]))
    with pytest.raises(UserError, match="has no folder 'transformer', 'vae'"):
        load(model / "transformer", text_encoder=str(text))


def test_text_is_padded_with_zeros_and_followed_by_a_score(model: Path) -> None:
    backbone = load(model)
    encoded = backbone.encode(PROMPTS)
    assert encoded.shape == (2, 48, 16)
    words = (encoded != 0).any(-1)
    counts = words.sum(1)
    assert 0 < counts[0] < counts[1] < 48
    assert not words[0, counts[0] :].any()
    assert words[0, : counts[0]].all()
    torch.testing.assert_close(backbone.encode(PROMPTS[1:]), encoded[1:])
    plain = load(model, suffix="")
    assert int((plain.encode(PROMPTS) != 0).any(-1)[0].sum()) < counts[0]
    full = plain.encode([f"{prompt} aesthetic score: 6.5." for prompt in PROMPTS])
    torch.testing.assert_close(full, encoded)


def test_a_prompt_that_does_not_fit_is_refused(model: Path) -> None:
    with pytest.raises(UserError, match=r"has \d+ tokens with what is put after it, the denoiser reads 48"):
        load(model).encode(["a red cat", "a cat " * 30])


@pytest.mark.parametrize(
    ("prompt", "cleaned"),
    [
        ("A red  Cat.\n aesthetic score: 6.5.", "a red cat. aesthetic score: 6.5."),
        ("\u201cCats\u201d &amp; dogs \u2014 it\u2019s (very) loud!", '"cats" dogs - it\'s very loud!'),
        ("black/white #1", "black white 1"),
    ],
)
def test_prompts_are_cleaned(prompt: str, cleaned: str) -> None:
    assert clean_prompt(prompt) == cleaned


@torch.no_grad()
def test_the_condition_without_text_is_the_learnt_one_with_the_same_padding(model: Path) -> None:
    backbone = load(model)
    encoded = backbone.encode(PROMPTS)
    blank = backbone.unconditional(encoded)
    words = (encoded != 0).any(-1)
    assert blank.shape == encoded.shape
    assert torch.equal((blank != 0).any(-1), words)
    learnt = load_file(model / "transformer" / "model.safetensors")["y_embedder.y_embedding"].float()
    count = int(words[0].sum())
    assert torch.equal(blank[0, :count], learnt[:count])


@torch.no_grad()
def test_only_the_velocity_is_given_and_padding_is_not_read(model: Path) -> None:
    backbone = load(model)
    latents, timesteps, encoded = start(backbone), torch.tensor([900.0, 20.5]), backbone.encode(PROMPTS)
    velocity = backbone.denoise(latents, timesteps, encoded)
    assert velocity.shape == latents.shape
    count = int((encoded[0] != 0).any(-1).sum())
    shorter = backbone.denoise(latents[:1], timesteps[:1], encoded[:1, :count])
    torch.testing.assert_close(velocity[:1], shorter, atol=1e-5, rtol=1e-4)
    whole = backbone.denoiser(latents[:1], timesteps[:1], encoded[:1, :count], Format(8, 6, 24))
    torch.testing.assert_close(velocity[:1], whole[:, :4], atol=1e-5, rtol=1e-4)
    faster = load(model, fps=8).denoise(latents, timesteps, encoded)
    assert not torch.allclose(velocity, faster, atol=1e-4)


@torch.no_grad()
def test_pictures_are_those_of_the_whole_video_and_not_clamped(model: Path) -> None:
    backbone = load(model, frames=21)
    latents = start(backbone)
    backbone.modules()[2].get_parameter("spatial_vae.module.decoder.conv_out.bias")[0] = 5.0
    pictures = backbone.decode(latents)
    assert pictures.shape == (2, 21, 3, 8, 6)
    assert pictures[:, :, 0].min() > 1
    some = backbone.decode(latents, [20, 4])
    torch.testing.assert_close(some, pictures[:, [20, 4]], atol=1e-4, rtol=1e-4)


def test_faulty_weights_are_all_told_by_name(copy: Path) -> None:
    path = copy / "transformer" / "model.safetensors"
    stored = load_file(path)
    del stored["t_block.1.weight"], stored["rope.freqs"]
    stored["extra.weight"] = torch.ones(2)
    stored["final_layer.linear.bias"] = torch.ones(5)
    save_file(stored, path)
    with pytest.raises(UserError) as error:
        load(copy)
    assert error.value.given.endswith("transformer")
    assert error.value.wrong == (
        "lacks rope.freqs; lacks t_block.1.weight; has an unknown extra.weight; "
        "has final_layer.linear.bias of shape [5], not [32]"
    )


def test_faulty_weights_of_the_autoencoder_are_reported_by_name(copy: Path) -> None:
    path = copy / "vae" / "model.safetensors"
    stored = load_file(path)
    del stored["shift"]
    stored["temporal_vae.quant_conv.conv.bias"] = torch.ones(2)
    save_file(stored, path)
    with pytest.raises(
        UserError, match=r"lacks shift; has temporal_vae.quant_conv.conv.bias of shape \[2\], not \[8\]"
    ):
        load(copy)


def test_faulty_weights_of_the_text_encoder_are_reported_by_name(copy: Path) -> None:
    path = copy / "text_encoder" / "model.safetensors"
    stored = load_file(path)
    del stored["encoder.final_layer_norm.weight"]
    stored["surplus"] = torch.ones(2)
    stored["encoder.block.0.layer.0.SelfAttention.q.weight"] = torch.ones(2, 2)
    save_file(stored, path, {"format": "pt"})
    with pytest.raises(UserError) as error:
        load(copy)
    assert error.value.wrong == (
        "lacks encoder.final_layer_norm.weight; has an unknown surplus; has "
        "encoder.block.0.layer.0.SelfAttention.q.weight of shape [2, 2], not [16, 16]"
    )


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        ("transformer", {"num_heads": 3}, r"transformer/config.json.*hidden_size 32 and 3 heads"),
        ("transformer", {"pred_sigma": False}, r"transformer/config.json: pred_sigma"),
        ("transformer", {"caption_channels": 12}, r"lacks|has y_embedder"),
        (
            "transformer",
            {"in_channels": 8},
            r"transformer.in_channels = 8 and vae.vae_temporal.embed_dim = 4",
        ),
        ("vae", {"model_type": "other"}, r"vae/config.json: model_type"),
        ("text_encoder", {"model_type": "umt5"}, r"text_encoder: holds a network of type 'umt5'"),
    ],
)
def test_wrong_sizes_are_refused(copy: Path, path: str, change: dict[str, Any], message: str) -> None:
    edit(copy / path / "config.json", lambda data: data.update(change))
    with pytest.raises(UserError, match=message):
        load(copy)


def test_a_text_encoder_of_another_width_is_refused(copy: Path) -> None:
    path = copy / "transformer" / "model.safetensors"
    stored = load_file(path)
    stored["y_embedder.y_embedding"] = torch.zeros(48, 12)
    stored["y_embedder.y_proj.fc1.weight"] = torch.zeros(SIZES["hidden_size"], 12)
    save_file(stored, path)
    edit(copy / "transformer" / "config.json", lambda data: data.update(caption_channels=12))
    with pytest.raises(UserError, match=r"transformer.caption_channels = 12 and text_encoder.d_model = 16"):
        load(copy)


def test_missing_parts_are_all_told(copy: Path) -> None:
    for part in ("vae", "tokenizer"):
        shutil.rmtree(copy / part)
    with pytest.raises(UserError, match="has no folder 'vae', 'tokenizer'; give a folder with") as error:
        load(copy)
    assert error.value.exit_code is ExitCode.MISSING


@pytest.mark.parametrize("part", ["transformer", "vae"])
def test_missing_or_broken_weights_are_refused(copy: Path, part: str) -> None:
    path = copy / part / "model.safetensors"
    path.write_bytes(b"not weights")
    with pytest.raises(UserError, match=r"model\.safetensors: cannot be read as weights"):
        load(copy)
    path.unlink()
    with pytest.raises(UserError, match=r"has none of .* model\.safetensors") as error:
        load(copy)
    assert error.value.exit_code is ExitCode.MISSING


def test_a_broken_text_encoder_or_tokenizer_is_refused(copy: Path) -> None:
    edit(copy / "text_encoder" / "config.json", lambda data: data.update(vocab_size=513))
    with pytest.raises(UserError, match=r"has shared.weight of shape \[514, 16\], not \[513, 16\]"):
        load(copy)
    (copy / "text_encoder" / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(UserError, match=r"text_encoder/model\.safetensors: cannot be read as weights"):
        load(copy)


def test_a_tokenizer_that_knows_more_than_the_text_encoder_is_refused(copy: Path) -> None:
    edit(copy / "text_encoder" / "config.json", lambda data: data.update(vocab_size=500))
    path = copy / "text_encoder" / "model.safetensors"
    stored = load_file(path)
    stored = {name: weight[:500].clone() if len(weight) == 514 else weight for name, weight in stored.items()}
    save_file(stored, path, {"format": "pt"})
    with pytest.raises(UserError, match="tokenizer: knows 514 tokens, the text encoder 500"):
        load(copy)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 16}, r"frames = 16: is less than a chunk of 17 pictures"),
        ({"frames": 0}, r"backbone.settings: frames"),
        ({"height": 1}, r"backbone.settings.height = 1: is less than one latent; choose at least 2"),
        ({"lenght": 1}, r"lenght: is not a known key"),
    ],
)
def test_wrong_settings_are_refused(model: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(model, **settings)


def test_checkpointing_reaches_the_denoiser(model: Path) -> None:
    backbone = load(model)
    assert isinstance(backbone.denoiser, STDiT3)
    assert not backbone.denoiser.checkpointing
    backbone.enable_checkpointing()
    assert backbone.denoiser.checkpointing
