from __future__ import annotations

import math
import pathlib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from vader_bench.backbones.videocrafter2 import TextConfig, make_text_encoder
from vader_bench.backbones.videocrafter2_keys import (
    Origin,
    denoiser_origin,
    find_checkpoint,
    first_stage_origin,
    load_into,
    read_checkpoint,
    text_origin,
)
from vader_bench.errors import ExitCode, UserError
from vader_bench.seeding import torch_stream

TEXT = TextConfig(width=12, heads=3, layers=3, vocab_size=20, context_length=6)


class Pair(nn.Module):
    """One matrix and one number."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Linear(2, 3)
        self.number = nn.Linear(1, 1, bias=False)


def origin(name: str) -> Origin:
    return Origin(f"prefix.{name}", trailing=int(name == "number.weight"))


def stored() -> dict[str, Tensor]:
    return {
        "prefix.matrix.weight": torch.arange(6.0).reshape(3, 2),
        "prefix.matrix.bias": torch.ones(3),
        "prefix.number.weight": torch.full((1, 1, 1), 7.0),
    }


def open_clip_tower(config: TextConfig) -> dict[str, Tensor]:
    """Random weights of a text tower by the names of open_clip."""
    stream, width = torch_stream(0, "tower"), config.width

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=stream) / math.sqrt(shape[-1])

    tower = {
        "token_embedding.weight": draw(config.vocab_size, width),
        "positional_embedding": draw(config.context_length, width),
        "ln_final.weight": draw(width),
        "ln_final.bias": draw(width),
        "text_projection": draw(width, width),
        "logit_scale": draw(1)[0],
        "attn_mask": torch.full((config.context_length,) * 2, -math.inf).triu(1),
    }
    for i in range(config.layers):
        block = f"transformer.resblocks.{i}"
        for norm in ("ln_1", "ln_2"):
            tower |= {f"{block}.{norm}.weight": 1 + draw(width), f"{block}.{norm}.bias": draw(width)}
        for name, outputs, inputs in (
            ("attn.in_proj_", 3 * width, width),
            ("attn.out_proj.", width, width),
            ("mlp.c_fc.", 4 * width, width),
            ("mlp.c_proj.", width, 4 * width),
        ):
            tower |= {f"{block}.{name}weight": draw(outputs, inputs), f"{block}.{name}bias": draw(outputs)}
    return tower


def open_clip_states(tower: dict[str, Tensor], ids: Tensor, config: TextConfig) -> Tensor:
    """What the last layer of the tower would get, normalised [B, L, width], from the equations."""
    x = tower["token_embedding.weight"][ids] + tower["positional_embedding"]
    for i in range(config.layers - 1):
        w = {name.removeprefix(f"transformer.resblocks.{i}."): value for name, value in tower.items()}
        y = functional.layer_norm(x, (config.width,), w["ln_1.weight"], w["ln_1.bias"])
        projected = functional.linear(y, w["attn.in_proj_weight"], w["attn.in_proj_bias"])
        q, k, v = (part.unflatten(2, (config.heads, -1)).transpose(1, 2) for part in projected.chunk(3, -1))
        scores = q @ k.mT / math.sqrt(q.shape[-1]) + tower["attn_mask"]
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + functional.linear(mixed, w["attn.out_proj.weight"], w["attn.out_proj.bias"])
        y = functional.layer_norm(x, (config.width,), w["ln_2.weight"], w["ln_2.bias"])
        y = functional.linear(y, w["mlp.c_fc.weight"], w["mlp.c_fc.bias"])
        gelu = y * (1 + torch.erf(y / math.sqrt(2))) / 2
        x = x + functional.linear(gelu, w["mlp.c_proj.weight"], w["mlp.c_proj.bias"])
    return functional.layer_norm(x, (config.width,), tower["ln_final.weight"], tower["ln_final.bias"])


@torch.no_grad()
def test_the_text_tower_of_open_clip_in_transformers_is_the_tower() -> None:
    tower = open_clip_tower(TEXT)
    encoder = make_text_encoder(TEXT, start=18, end=19).eval()
    named = {f"cond_stage_model.model.{name}": value for name, value in tower.items()}
    load_into([(encoder, text_origin)], named, "tower")
    ids = torch.tensor([[18, 3, 4, 19, 0, 0], [18, 19, 0, 0, 0, 0]])
    states = encoder(ids, output_hidden_states=True).hidden_states[-2]
    ours = encoder.text_model.final_layer_norm(states)
    torch.testing.assert_close(ours, open_clip_states(tower, ids, TEXT), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("ours", "file", "shape"),
    [
        ("time_embed.0.weight", "time_embed.0.weight", [4, 2]),
        ("input_blocks.3.0.conv.weight", "input_blocks.3.0.op.weight", [4, 2]),
        ("output_blocks.3.1.conv.weight", "output_blocks.3.1.conv.weight", [4, 2]),
        (
            "middle_block.0.temporal_conv.conv2.3.bias",
            "middle_block.0.temopral_conv.conv2.3.bias",
            [4, 2],
        ),
        ("init_attn.0.proj_in.weight", "init_attn.0.proj_in.weight", [4, 2, 1]),
        ("init_attn.0.proj_out.bias", "init_attn.0.proj_out.bias", [4, 2]),
        ("input_blocks.1.2.proj_in.weight", "input_blocks.1.2.proj_in.weight", [4, 2]),
    ],
)
def test_names_and_shapes_of_the_denoiser(ours: str, file: str, shape: list[int]) -> None:
    place = denoiser_origin(ours)
    assert place.key == f"model.diffusion_model.{file}"
    assert list(place.shape(torch.Size([4, 2]))) == shape


@pytest.mark.parametrize(
    ("ours", "file", "shape"),
    [
        ("encoder.down_blocks.1.resnets.0.norm1.bias", "encoder.down.1.block.0.norm1.bias", [4, 2]),
        ("encoder.down_blocks.0.downsamplers.0.conv.bias", "encoder.down.0.downsample.conv.bias", [4, 2]),
        ("decoder.up_blocks.0.upsamplers.0.conv.bias", "decoder.up.3.upsample.conv.bias", [4, 2]),
        (
            "decoder.up_blocks.3.resnets.2.conv_shortcut.weight",
            "decoder.up.0.block.2.nin_shortcut.weight",
            [4, 2],
        ),
        ("decoder.mid_block.resnets.1.conv2.bias", "decoder.mid.block_2.conv2.bias", [4, 2]),
        ("encoder.mid_block.attentions.0.group_norm.weight", "encoder.mid.attn_1.norm.weight", [4, 2]),
        ("encoder.mid_block.attentions.0.to_k.weight", "encoder.mid.attn_1.k.weight", [4, 2, 1, 1]),
        (
            "decoder.mid_block.attentions.0.to_out.0.weight",
            "decoder.mid.attn_1.proj_out.weight",
            [4, 2, 1, 1],
        ),
        ("decoder.mid_block.attentions.0.to_out.0.bias", "decoder.mid.attn_1.proj_out.bias", [4, 2]),
        ("decoder.conv_norm_out.bias", "decoder.norm_out.bias", [4, 2]),
        ("post_quant_conv.weight", "post_quant_conv.weight", [4, 2]),
    ],
)
def test_names_and_shapes_of_the_first_stage(ours: str, file: str, shape: list[int]) -> None:
    place = first_stage_origin(ours, levels=4)
    assert place.key == f"first_stage_model.{file}"
    assert list(place.shape(torch.Size([4, 2]))) == shape


def test_a_stacked_matrix_is_taken_apart() -> None:
    place = text_origin("text_model.encoder.layers.2.self_attn.v_proj.weight")
    assert place == Origin("cond_stage_model.model.transformer.resblocks.2.attn.in_proj_weight", third=2)
    size = torch.Size([2, 2])
    assert place.shape(size) == (6, 2)
    assert place.take(torch.arange(12.0).reshape(6, 2), size).tolist() == [[8, 9], [10, 11]]


def test_weights_go_where_they_belong_in_float32() -> None:
    with torch.device("meta"):
        network = Pair()
    load_into([(network, origin)], {name: value.half() for name, value in stored().items()}, "file")
    assert network.matrix.weight.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert network.number.weight.tolist() == [[7]]
    assert all(weight.dtype == torch.float32 for weight in network.parameters())


def test_every_fault_is_reported_by_the_name_in_the_file_and_nothing_is_changed() -> None:
    network = Pair()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    faulty = stored()
    del faulty["prefix.matrix.bias"]
    faulty |= {"prefix.matrix.weight": torch.ones(2, 3), "prefix.number.weight": torch.ones(1, 1)}
    faulty |= {"model_ema.decay": torch.ones(1), "prefix.more": torch.ones(1)}
    with pytest.raises(UserError) as error:
        load_into([(network, origin)], faulty, "model.ckpt")
    assert error.value.given == "model.ckpt"
    assert error.value.wrong.split("; ") == [
        "lacks prefix.matrix.bias",
        "has an unknown model_ema.decay",
        "has an unknown prefix.more",
        "has prefix.matrix.weight of shape [2, 3], not [3, 2]",
        "has prefix.number.weight of shape [1, 1], not [1, 1, 1]",
    ]
    assert all(torch.equal(before[name], weight) for name, weight in network.state_dict().items())


@pytest.mark.parametrize(
    "name",
    [
        "betas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
        "scale_arr",
        "cond_stage_model.model.text_projection",
        "cond_stage_model.model.logit_scale",
        "cond_stage_model.model.attn_mask",
    ],
)
def test_what_the_release_holds_beside_the_networks_is_known(name: str) -> None:
    load_into([(Pair(), origin)], stored() | {name: torch.ones(1)}, "file")
    with pytest.raises(UserError, match="has an unknown"):
        load_into([(Pair(), origin)], stored() | {f"{name}_2": torch.ones(1)}, "file")


def wrapped(kind: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if kind == "deepspeed":
        return {"module": {f"_forward_module.{name}": value for name, value in tensors.items()}}
    if kind == "lightning":
        return {"state_dict": tensors, "epoch": 3}
    return dict(tensors)


@pytest.mark.parametrize("kind", ["plain", "lightning", "deepspeed"])
def test_a_pickle_may_be_wrapped(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    torch.save(wrapped(kind, stored()), path)
    read = read_checkpoint(path)
    assert read.keys() == stored().keys()
    assert all(torch.equal(read[name], value) for name, value in stored().items())


def test_safetensors_are_read_and_preferred(tmp_path: Path) -> None:
    torch.save(stored(), tmp_path / "model.ckpt")
    assert find_checkpoint(tmp_path).name == "model.ckpt"
    save_file(stored(), tmp_path / "model.safetensors")
    path = find_checkpoint(tmp_path)
    assert path.name == "model.safetensors"
    assert torch.equal(read_checkpoint(path)["prefix.matrix.bias"], torch.ones(3))


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has neither model.safetensors nor model.ckpt") as error:
        find_checkpoint(tmp_path)
    assert error.value.exit_code is ExitCode.MISSING


def touch(path: str) -> Tensor:
    pathlib.Path(path).touch()
    return torch.ones(1)


class Trap:
    """What a hostile pickle looks like: reading it calls a function."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return partial(touch, str(self.mark)), ()


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "model.ckpt", tmp_path / "ran"
    torch.save({"state_dict": {"a": Trap(mark)}}, path)
    with pytest.raises(UserError, match="cannot be read as weights"):
        read_checkpoint(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["model.ckpt", "model.safetensors"])
def test_a_broken_file_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"not weights")
    with pytest.raises(UserError, match=rf"{name}: cannot be read as weights"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [{"a": 1}, [torch.ones(1)], {"state_dict": {"a": [1.0]}}])
def test_a_pickle_of_something_else_is_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    torch.save(content, path)
    with pytest.raises(UserError, match="is not a table of tensors by name"):
        read_checkpoint(path)
