"""Networks from folders of both libraries: whole, or refused with all that is amiss."""

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
from transformers import (
    CLIPModel,
    T5EncoderModel,
    UMT5EncoderModel,
    VideoMAEForVideoClassification,
    VJEPA2Model,
    YolosForObjectDetection,
)

from tests.support.flow import wan_pipeline
from vader_bench.errors import ExitCode, UserError
from vader_bench.weights.networks import bare_network, load_network


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


def test_half_precision_stays_where_it_is_wanted(text_encoder: Path) -> None:
    """UMT5 asks for one of its weights in float32, in float16 alone."""
    for dtype, kept in ((torch.bfloat16, 0), (torch.float16, 1)):
        network = load_network(UMT5EncoderModel, text_encoder, dtype)
        high = {name for name, weight in network.named_parameters() if weight.dtype == torch.float32}
        assert high == {name for name, _ in network.named_parameters() if kept and ".wo." in name}
        assert len(high) < len(list(network.parameters()))


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
@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_weights_have_the_names_that_their_libraries_give_them(
    saved: Path, tmp_path: Path, variant: str, kind: Any, size: str, ending: str
) -> None:
    """Whole and in parts, of every variant: written here by diffusers and transformers themselves."""
    part = "transformer" if kind is WanTransformer3DModel else "text_encoder"
    theirs = kind.from_pretrained(saved / part)
    safe = ending == "safetensors"
    theirs.save_pretrained(tmp_path, variant=variant or None, max_shard_size=size, safe_serialization=safe)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", f".{ending}"}
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


@pytest.fixture
def classifier(tiny_videomae: Path, tmp_path: Path) -> Path:
    """A video classifier's folder that may be spoilt."""
    return Path(shutil.copytree(tiny_videomae, tmp_path / "classifier"))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (CLIPModel, "tiny_clip"),
        (VideoMAEForVideoClassification, "tiny_videomae"),
        (YolosForObjectDetection, "tiny_yolos"),
        (VJEPA2Model, "tiny_vjepa"),
    ],
)
def test_networks_of_rewards_are_what_transformers_loads(
    kind: Any, name: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(name)
    ours, theirs = load_network(kind, folder), kind.from_pretrained(folder, dtype=torch.float32)
    assert ours.config._attn_implementation == theirs.config._attn_implementation
    mine, wanted = ours.state_dict() | dict(ours.named_buffers()), theirs.state_dict()
    wanted |= dict(theirs.named_buffers())  # some are never saved
    assert mine.keys() == wanted.keys()
    assert all(torch.equal(mine[key], value) for key, value in wanted.items())
    assert not ours.training
    assert not any(parameter.requires_grad for parameter in ours.parameters())


def test_nothing_is_written_to_the_terminal(tiny_videomae: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_network(VideoMAEForVideoClassification, tiny_videomae)
    assert capfd.readouterr() == ("", "")


def test_a_reward_folder_may_hold_a_pickle_of_tensors(classifier: Path) -> None:
    weights = load_file(classifier / "model.safetensors")
    (classifier / "model.safetensors").unlink()
    torch.save(weights, classifier / "pytorch_model.bin")
    state = load_network(VideoMAEForVideoClassification, classifier).state_dict()
    assert all(torch.equal(state[name], weight.float()) for name, weight in weights.items())


def test_all_weights_that_a_reward_lacks_are_named(classifier: Path) -> None:
    weights = load_file(classifier / "model.safetensors")
    del weights["classifier.weight"], weights["classifier.bias"]
    save_file(weights, classifier / "model.safetensors")
    with pytest.raises(UserError) as error:
        load_network(VideoMAEForVideoClassification, classifier)
    assert error.value.wrong == "lacks classifier.bias; lacks classifier.weight"


def test_a_cut_file_is_refused(classifier: Path) -> None:
    weights = classifier / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"model\.safetensors: cannot be read as weights"):
        load_network(VideoMAEForVideoClassification, classifier)


def test_a_folder_without_config_or_weights_is_refused(classifier: Path) -> None:
    (classifier / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has none of diffusion_pytorch_model.safetensors, ") as error:
        load_network(VideoMAEForVideoClassification, classifier)
    assert error.value.exit_code is ExitCode.MISSING
    (classifier / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json"):
        load_network(VideoMAEForVideoClassification, classifier)


def test_a_bare_network_has_the_shapes_and_no_values(tiny_videomae: Path) -> None:
    with torch.device("meta"):
        bare = bare_network(VideoMAEForVideoClassification, str(tiny_videomae)).state_dict()
    whole = load_network(VideoMAEForVideoClassification, tiny_videomae).state_dict()
    assert {key: value.shape for key, value in bare.items()} == {
        key: value.shape for key, value in whole.items()
    }
    assert all(value.is_meta for value in bare.values())
