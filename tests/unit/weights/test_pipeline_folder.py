from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from transformers import T5EncoderModel, UMT5EncoderModel

from tests.support.flow import wan_pipeline
from vader_bench.errors import ExitCode, UserError
from vader_bench.weights.pipeline_folder import (
    latent_sizes,
    load_network,
    read_table,
    require_equal,
    require_parts,
    tokenize,
)
from vader_bench.weights.tokenizers import read_tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path) -> Path:
    folder = tmp_path_factory.mktemp("wan")
    wan_pipeline(tiny_pipeline / "tokenizer").save_pretrained(folder)
    return folder


@pytest.fixture
def transformer(saved: Path, tmp_path: Path) -> Path:
    """A denoiser's folder that may be spoilt."""
    return Path(shutil.copytree(saved / "transformer", tmp_path / "transformer"))


@pytest.fixture
def text_encoder(saved: Path, tmp_path: Path) -> Path:
    """A text encoder's folder that may be spoilt."""
    return Path(shutil.copytree(saved / "text_encoder", tmp_path / "text_encoder"))


def states(network: Any) -> Any:
    """Return what the text encoder makes of a few tokens."""
    with torch.no_grad():
        return network(torch.tensor([[5, 6, 7]])).last_hidden_state


def test_a_network_is_the_one_that_was_saved(saved: Path) -> None:
    ours = load_network(WanTransformer3DModel, saved / "transformer")
    theirs = WanTransformer3DModel.from_pretrained(saved / "transformer")
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, weight in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], weight), name
    for name, weight in theirs.named_buffers():  # some are never saved
        assert torch.equal(ours.get_buffer(name), weight), name


def test_half_precision_becomes_float32(transformer: Path) -> None:
    path = transformer / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    save_file({name: weight.bfloat16() for name, weight in weights.items()}, path)
    for name, weight in load_network(WanTransformer3DModel, transformer).state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, weights[name].bfloat16().float())


def test_several_files_make_one_network(transformer: Path) -> None:
    whole = load_network(WanTransformer3DModel, transformer).state_dict()
    path = transformer / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    path.unlink()
    names = sorted(weights)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, transformer / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (transformer / f"{path.name}.index.json").write_text(json.dumps(index), "utf-8")
    for name, weight in load_network(WanTransformer3DModel, transformer).state_dict().items():
        assert torch.equal(weight, whole[name])
    (transformer / "b.safetensors").unlink()
    with pytest.raises(UserError, match=r"b\.safetensors: cannot be read as weights"):
        load_network(WanTransformer3DModel, transformer)


@pytest.mark.parametrize("kept", ["shared.weight", "encoder.embed_tokens.weight", "both"])
def test_a_weight_with_two_names_may_be_stored_by_either(kept: str, text_encoder: Path) -> None:
    wanted = states(load_network(UMT5EncoderModel, text_encoder))
    path = text_encoder / "model.safetensors"
    weights = load_file(path)
    table = weights.pop("shared.weight")
    both = ("shared.weight", "encoder.embed_tokens.weight")
    stored = {name: table.clone() for name in both if kept in (name, "both")}
    save_file(weights | stored, path, {"format": "pt"})
    network = load_network(UMT5EncoderModel, text_encoder)
    assert network.shared.weight is network.encoder.embed_tokens.weight
    torch.testing.assert_close(states(network), wanted)


def test_faulty_weights_are_all_told_by_name(transformer: Path) -> None:
    path = transformer / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["blocks.0.attn1.to_q.weight"], weights["proj_out.bias"]
    weights["blocks.1.attn1.to_q.bias"] = torch.ones(3)
    weights["other.weight"] = torch.ones(1)
    weights["blocks.0.attn2.norm_added_q.weight"] = torch.ones(1)  # diffusers lets it pass too
    save_file(weights, path)
    with pytest.raises(UserError) as error:
        load_network(WanTransformer3DModel, transformer)
    assert error.value.given == str(transformer)
    assert error.value.wrong.split("; ") == [
        "lacks blocks.0.attn1.to_q.weight",
        "lacks proj_out.bias",
        "has an unknown other.weight",
        "has blocks.1.attn1.to_q.bias of shape [3], not [24]",
    ]


def test_another_kind_of_network_is_refused(saved: Path) -> None:
    with pytest.raises(UserError, match="holds a network of type 'umt5'; give one of type 't5'"):
        load_network(T5EncoderModel, saved / "text_encoder")
    with pytest.raises(UserError, match="type 'AutoencoderKLWan'; give one of type 'WanTransformer3DModel'"):
        load_network(WanTransformer3DModel, saved / "vae")


def test_a_folder_without_weights_or_tokenizer_is_refused(transformer: Path) -> None:
    (transformer / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has none of diffusion_pytorch_model.safetensors, ") as error:
        load_network(WanTransformer3DModel, transformer)
    assert error.value.exit_code is ExitCode.MISSING
    (transformer / "config.json").unlink()
    with pytest.raises(UserError, match="transformer: cannot be loaded"):
        read_tokenizer(transformer)
    with pytest.raises(UserError, match=r"'vae', 'tokenizer'; give a folder with .*, as XPipeline has them"):
        require_parts(transformer.parent, ["transformer", "vae", "tokenizer"], "XPipeline")


def test_a_table_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]", "utf-8")
    with pytest.raises(UserError, match="is not a table"):
        read_table(tmp_path / "a.json")


def test_texts_are_cleaned_as_the_pipelines_do(saved: Path) -> None:
    tokenizer = read_tokenizer(saved / "tokenizer")
    ids, words = tokenize(tokenizer, [" a  &amp;lt; b\n", "a < b", ""], 12)
    assert ids.shape == words.shape == (3, 12)
    assert torch.equal(ids[0], ids[1])
    assert words.sum(1).tolist() == [5, 5, 2]
    with pytest.raises(UserError, match="prompt 'four': has 6 tokens, the text encoder reads 5"):
        tokenize(tokenizer, ["a", "four"], 5)


def test_networks_that_belong_together_have_equal_sizes(tmp_path: Path) -> None:
    require_equal(tmp_path, {"a.width": 3, "b.width": 3})
    with pytest.raises(UserError, match=r"has a.width = 3 and b.width = 4; give networks that belong"):
        require_equal(tmp_path, {"a.width": 3, "b.width": 4})


FACTORS = {"frames": (4, 1), "height": (8, 2), "width": (8, 2)}


def test_the_first_picture_stands_for_itself() -> None:
    assert latent_sizes({"frames": 81, "height": 480, "width": 832}, FACTORS) == (21, 60, 104)
    assert latent_sizes({"frames": 1, "height": 16, "width": 16}, FACTORS) == (1, 2, 2)


@pytest.mark.parametrize(
    ("name", "size", "factor", "message"),
    [
        ("frames", 80, (4, 1), "frames = 80: is not a multiple of 4 plus 1; choose 77"),
        ("frames", 4, (4, 1), "frames = 4: is not a multiple of 4 plus 1; choose 1"),
        ("height", 488, (8, 2), "height = 488: is not a multiple of 16; choose 480"),
        ("width", 8, (8, 2), "width = 8: is not a multiple of 16; choose 16"),
    ],
)
def test_a_size_that_does_not_fit_is_refused(
    name: str, size: int, factor: tuple[int, int], message: str
) -> None:
    wanted = {"frames": 81, "height": 480, "width": 832} | {name: size}
    with pytest.raises(UserError, match=message):
        latent_sizes(wanted, FACTORS | {name: factor})


def test_a_file_of_half_precision_is_found_by_its_own_name(transformer: Path) -> None:
    path = transformer / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    path.unlink()
    half = {name: weight.half() for name, weight in weights.items()}
    save_file(half, transformer / "diffusion_pytorch_model.fp16.safetensors")
    for name, weight in load_network(WanTransformer3DModel, transformer).state_dict().items():
        assert torch.equal(weight, half[name].float())


def test_a_pickle_of_tensors_is_read_and_one_of_code_is_refused(transformer: Path) -> None:
    path = transformer / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    path.unlink()
    torch.save(weights, path.with_suffix(".bin"))
    state = load_network(WanTransformer3DModel, transformer).state_dict()
    assert all(torch.equal(state[name], weight) for name, weight in weights.items())
    torch.save(weights | {"run": shutil.rmtree}, path.with_suffix(".bin"))
    with pytest.raises(UserError, match=r"diffusion_pytorch_model\.bin: cannot be read as weights"):
        load_network(WanTransformer3DModel, transformer)


def test_a_config_of_no_network_is_refused(transformer: Path, tmp_path: Path) -> None:
    shutil.copy(transformer / "diffusion_pytorch_model.safetensors", tmp_path)
    config = {"_class_name": "AutoencoderKL", "down_block_types": ["NoBlock"]}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(UserError, match=r"config.json: describes no network \(.*NoBlock"):
        load_network(AutoencoderKL, tmp_path)


def test_attention_by_its_names_of_old_is_the_same(tmp_path: Path) -> None:
    """Autoencoders saved before diffusers 0.18, the released ModelScope's among them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoencoderKL(block_out_channels=(32,), latent_channels=2).save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, weight in weights.items():
        former = next((o for n, o in old.items() if f".attentions.0.{n}." in name), None)
        renamed[re.sub(r"to_([qkv]|out\.0)\.", f"{former}.", name) if former else name] = weight
    assert len(renamed.keys() - weights.keys()) == 16
    save_file(renamed, path)
    state = load_network(AutoencoderKL, tmp_path).state_dict()
    assert all(torch.equal(state[name], weight) for name, weight in weights.items())


@pytest.mark.parametrize("variant", ["", "fp16", "bf16"])
@pytest.mark.parametrize("kind", [WanTransformer3DModel, UMT5EncoderModel])
@pytest.mark.parametrize("size", ["1GB", "20KB"])
def test_weights_have_the_names_that_their_libraries_give_them(
    saved: Path, tmp_path: Path, variant: str, kind: Any, size: str
) -> None:
    """Whole and in parts, of every variant: written here by diffusers and transformers themselves."""
    part = "transformer" if kind is WanTransformer3DModel else "text_encoder"
    theirs = kind.from_pretrained(saved / part)
    theirs.save_pretrained(tmp_path, variant=variant or None, max_shard_size=size)
    assert any(".index" in path.name for path in tmp_path.iterdir()) == (size == "20KB")
    ours = load_network(kind, tmp_path).state_dict()
    for name, weight in theirs.state_dict().items():
        assert torch.equal(ours[name], weight), name


def test_an_index_may_have_the_variant_before_its_ending(saved: Path, tmp_path: Path) -> None:
    kind = WanTransformer3DModel
    kind.from_pretrained(saved / "transformer").save_pretrained(
        tmp_path, variant="fp16", max_shard_size="20KB"
    )
    [index] = tmp_path.glob("*.index*.json")
    other = "diffusion_pytorch_model.fp16.safetensors.index.json"
    if index.name == other:
        other = "diffusion_pytorch_model.safetensors.index.fp16.json"
    index.rename(tmp_path / other)
    load_network(kind, tmp_path)


@pytest.mark.parametrize("table", ["[]", "{}", '{"weight_map": [1]}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_lists_no_files_is_refused(transformer: Path, table: str) -> None:
    (transformer / "diffusion_pytorch_model.safetensors").unlink()
    (transformer / "diffusion_pytorch_model.safetensors.index.json").write_text(table, "utf-8")
    with pytest.raises(UserError, match=r"index.json: (is not a table|lists no files of weights)"):
        load_network(WanTransformer3DModel, transformer)
