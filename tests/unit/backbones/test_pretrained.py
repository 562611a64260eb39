from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder
from safetensors.torch import load_file, save_file

from vader_bench.backbones.pretrained import WEIGHTS, load_diffusers
from vader_bench.errors import ExitCode, UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A random autoencoder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoencoderKL(block_out_channels=(32,), latent_channels=2).save_pretrained(tmp_path)
    return tmp_path


def test_a_network_is_the_saved_one_frozen(folder: Path) -> None:
    before = torch.get_rng_state()
    model = load_diffusers(AutoencoderKL, folder)
    assert torch.equal(before, torch.get_rng_state())
    theirs = AutoencoderKL.from_pretrained(folder).state_dict()
    ours = model.state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    assert not any(part.training for part in model.modules())
    assert not any(weight.requires_grad for weight in model.parameters())


def test_half_precision_is_read_as_float32(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS[0])
    save_file({name: weight.half() for name, weight in weights.items()}, folder / WEIGHTS[1])
    (folder / WEIGHTS[0]).unlink()
    state = load_diffusers(AutoencoderKL, folder).state_dict()
    assert all(torch.equal(weights[name].half().float(), state[name]) for name in weights)


def test_faulty_weights_are_all_told_by_name(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS[0])
    del weights["encoder.conv_in.weight"], weights["quant_conv.bias"]
    weights["decoder.conv_in.bias"] = torch.ones(3)
    weights["more"] = torch.ones(1)
    save_file(weights, folder / WEIGHTS[0])
    with pytest.raises(UserError) as error:
        load_diffusers(AutoencoderKL, folder)
    assert error.value.given.endswith(WEIGHTS[0])
    assert error.value.wrong.split("; ") == [
        "lacks encoder.conv_in.weight",
        "lacks quant_conv.bias",
        "has an unknown more",
        "has decoder.conv_in.bias of shape [3], not [32]",
    ]


def test_another_architecture_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"config.json: describes a AutoencoderKL; give one that describes a"):
        load_diffusers(AutoencoderKLTemporalDecoder, folder)


def test_a_config_of_no_network_is_refused(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8")) | {"down_block_types": ["NoBlock"]}
    path.write_text(json.dumps(config), "utf-8")
    with pytest.raises(UserError, match=r"config.json: describes no network \(.*NoBlock"):
        load_diffusers(AutoencoderKL, folder)


def test_missing_and_broken_files_are_refused(folder: Path) -> None:
    (folder / WEIGHTS[0]).write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot be read as weights"):
        load_diffusers(AutoencoderKL, folder)
    (folder / WEIGHTS[0]).unlink()
    with pytest.raises(UserError, match=f"has no {WEIGHTS[0]}") as error:
        load_diffusers(AutoencoderKL, folder)
    assert error.value.exit_code is ExitCode.MISSING
