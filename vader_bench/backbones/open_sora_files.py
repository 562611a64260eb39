"""Open-Sora's folders: sizes, weights by their released names, text encoder, tokenizer; whole or refused."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoTokenizer, T5EncoderModel

from vader_bench.errors import ExitCode, UserError
from vader_bench.files import read_json
from vader_bench.yamlfile import parse, raise_faults

__all__ = [
    "PARTS",
    "fill",
    "load_text_encoder",
    "load_tokenizer",
    "read_sizes",
    "read_weights",
    "require_parts",
]

PARTS = ("transformer", "vae", "text_encoder", "tokenizer")
"""Folders of a model."""

_CONFIG = "config.json"
_WEIGHTS = "model.safetensors"
_TEXT_REMEDY = "give a T5EncoderModel, for the released denoiser that of DeepFloyd/t5-v1_1-xxl"

Config = TypeVar("Config", bound=BaseModel)


def require_parts(folder: Path) -> None:
    """Check that ``folder`` has all parts of a model.

    Raises:
        UserError: some are missing; all of them are told.
    """
    lacking = [part for part in PARTS if not (folder / part).is_dir()]
    if lacking:
        wrong = f"has no folder {', '.join(map(repr, lacking))}"
        remedy = f"give a folder with {', '.join(PARTS)}"
        raise UserError(str(folder), wrong, remedy, exit_code=ExitCode.MISSING)


def read_sizes(kind: type[Config], folder: Path) -> Config:
    """Return the sizes in the ``config.json`` of ``folder``.

    Raises:
        UserError: it is missing, or says something that the network cannot be.
    """
    path = folder / _CONFIG
    data = read_json(path)
    if not isinstance(data, dict):
        raise UserError(str(path), "is not a table", "give the config.json of the release")
    config, faults = parse(kind, data)
    raise_faults(str(path), faults)
    assert config is not None
    return config


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors in the ``model.safetensors`` of ``folder`` by name, on the CPU.

    Raises:
        UserError: it is missing or cannot be read.
    """
    path = folder / _WEIGHTS
    if not path.is_file():
        remedy = "put the file of the release there"
        raise UserError(str(folder), f"has no {_WEIGHTS}", remedy, exit_code=ExitCode.MISSING)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(str(path), f"cannot be read as weights ({error})", "copy it again") from error


def fill(network: nn.Module, stored: Mapping[str, Tensor], source: str) -> None:
    """Give every weight of ``network``, which may be on the meta device, its value in float32.

    Raises:
        UserError: names or shapes differ, all of them told; nothing is changed.
    """
    wanted = {name: weight.shape for name, weight in network.state_dict().items()}
    shapes = [
        f"{name} of shape {list(stored[name].shape)}, not {list(shape)}"
        for name, shape in sorted(wanted.items())
        if name in stored and stored[name].shape != shape
    ]
    remedy = "give the weights that belong to the config.json beside them"
    _raise(
        source, sorted(wanted.keys() - stored.keys()), sorted(stored.keys() - wanted.keys()), shapes, remedy
    )
    network.load_state_dict({name: stored[name].float() for name in wanted}, assign=True)


def load_text_encoder(folder: Path) -> T5EncoderModel:
    """Return the text encoder in ``folder``, as transformers saves it, in float32 on the CPU.

    Raises:
        UserError: it cannot be read, or names or shapes of weights differ, all of them told.
    """
    config = read_json(folder / _CONFIG)
    found = config.get("model_type") if isinstance(config, dict) else None
    if found != "t5":
        raise UserError(str(folder), f"holds a network of type {found!r}", _TEXT_REMEDY)
    try:
        with torch.random.fork_rng(devices=[]):  # what is missing is drawn before it is refused
            network, report = T5EncoderModel.from_pretrained(
                folder,
                dtype=torch.float32,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (OSError, EOFError, ValueError, SafetensorError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(str(folder), f"cannot be loaded ({reason})", _TEXT_REMEDY) from error
    shapes = {name: weight.shape for name, weight in network.state_dict().items()}
    _raise(
        str(folder),
        sorted(report["missing_keys"]),
        sorted(report["unexpected_keys"]),
        [f"{name} of another shape than {list(shapes[name])}" for name in sorted(report["mismatched_keys"])],
        _TEXT_REMEDY,
    )
    return network


def load_tokenizer(folder: Path, words: int) -> Any:
    """Return the tokenizer in ``folder``, of whatever class it was saved from.

    Args:
        folder: where it is.
        words: tokens that the text encoder knows.

    Raises:
        UserError: there is none, or it knows more tokens.
    """
    remedy = "save the tokenizer of the text encoder there"
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(str(folder), f"cannot be loaded ({reason})", remedy) from error
    if len(tokenizer) > words:
        wrong = f"knows {len(tokenizer)} tokens, the text encoder {words}"
        raise UserError(str(folder), wrong, remedy)
    return tokenizer


def _raise(
    source: str,
    missing: Iterable[str],
    surplus: Iterable[str],
    misshaped: Iterable[str],
    remedy: str,
) -> None:
    """Raise one error that tells all faults of weights; do nothing without any."""
    wrong = [f"lacks {name}" for name in missing]
    wrong += [f"has an unknown {name}" for name in surplus]
    wrong += [f"has {name}" for name in misshaped]
    if wrong:
        raise UserError(source, "; ".join(wrong), remedy)
