from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, VideoMAEForVideoClassification
from transformers.utils import logging as notes

from vader_bench.errors import UserError
from vader_bench.weights.pretrained import load_frozen, quiet_transformers


@pytest.fixture
def folder(tiny_videomae: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(tiny_videomae, tmp_path / "model"))


def test_half_precision_files_become_frozen_float32(tiny_videomae: Path) -> None:
    stored = load_file(tiny_videomae / "model.safetensors")
    model = load_frozen(VideoMAEForVideoClassification, tiny_videomae)
    loaded = model.state_dict()
    assert stored.keys() == loaded.keys()
    for key, value in stored.items():
        assert value.dtype == torch.float16
        assert torch.equal(loaded[key], value.float())
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_another_architecture_is_refused(tiny_videomae: Path) -> None:
    with pytest.raises(UserError, match="holds a model of type 'videomae'; give one of type 'clip'"):
        load_frozen(CLIPModel, tiny_videomae)


def test_missing_config_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json"):
        load_frozen(VideoMAEForVideoClassification, folder)


def test_missing_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors"):
        load_frozen(VideoMAEForVideoClassification, folder)


def test_a_missing_tensor_is_not_made_up(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["classifier.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lacks 1 weights, classifier\.weight first"):
        load_frozen(VideoMAEForVideoClassification, folder)


def test_weights_of_another_width_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["hidden_size"] = 24
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_frozen(VideoMAEForVideoClassification, folder)


def test_a_cut_file_is_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match="cannot be loaded"):
        load_frozen(VideoMAEForVideoClassification, folder)


def test_pickles_are_not_opened(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors"):
        load_frozen(VideoMAEForVideoClassification, folder)


def test_nothing_is_written_to_the_terminal(tiny_videomae: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_frozen(VideoMAEForVideoClassification, tiny_videomae)
    assert capfd.readouterr() == ("", "")


def test_quiet_ends_even_after_an_error() -> None:
    verbosity = notes.get_verbosity()
    assert notes.is_progress_bar_enabled()
    seen = []

    def fail() -> None:
        with quiet_transformers():
            seen.append((notes.get_verbosity(), notes.is_progress_bar_enabled()))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [(logging.ERROR, False)]
    assert notes.get_verbosity() == verbosity
    assert notes.is_progress_bar_enabled()
