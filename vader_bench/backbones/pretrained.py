"""Frozen networks from diffusers folders, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from accelerate import init_empty_weights
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vader_bench.errors import ExitCode, UserError
from vader_bench.files import read_json

if TYPE_CHECKING:
    from diffusers.models.modeling_utils import ModelMixin

__all__ = ["load_diffusers"]

M = TypeVar("M", bound="ModelMixin")

WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors")
"""Names the weights may have in their folder; the first one there is read."""

_REMEDY = "give a folder written by save_pretrained, with config.json and safetensors in one file"


def load_diffusers(kind: type[M], folder: Path) -> M:
    """Return the network in ``folder``: float32, on the CPU, eval mode, no parameter wants a gradient.

    Nothing is downloaded, and nothing that the folder lacks is made up.

    Args:
        kind: diffusers class.
        folder: what its ``save_pretrained`` wrote; weights as safetensors, in any precision.

    Raises:
        UserError: the folder holds another architecture, or weights that do not fit its config, all of
            them told by name.
    """
    path = folder / "config.json"
    config = read_json(path)
    found = config.get("_class_name") if isinstance(config, dict) else None
    if found != kind.__name__:
        raise UserError(str(path), f"describes a {found}", f"give one that describes a {kind.__name__}")
    try:
        with init_empty_weights():  # nothing is drawn that the file replaces
            model: M = kind.from_config(config)
    except (TypeError, ValueError) as error:
        raise UserError(str(path), f"describes no network ({error})", _REMEDY) from error
    source = _find(folder)
    try:
        stored = load_file(source)
    except (OSError, SafetensorError) as error:
        raise UserError(str(source), f"cannot be read as weights ({error})", _REMEDY) from error
    _check(model.state_dict(), stored, str(source))
    model.load_state_dict({name: weight.float() for name, weight in stored.items()}, assign=True)
    return model.requires_grad_(False).eval()  # type: ignore[no-any-return]


def _find(folder: Path) -> Path:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise UserError(str(folder), f"has no {WEIGHTS[0]}", _REMEDY, exit_code=ExitCode.MISSING)


def _check(wanted: dict[str, Tensor], stored: dict[str, Tensor], source: str) -> None:
    wrong = [f"lacks {name}" for name in sorted(wanted.keys() - stored.keys())]
    wrong += [f"has an unknown {name}" for name in sorted(stored.keys() - wanted.keys())]
    wrong += [
        f"has {name} of shape {list(stored[name].shape)}, not {list(weight.shape)}"
        for name, weight in sorted(wanted.items())
        if name in stored and stored[name].shape != weight.shape
    ]
    if wrong:
        raise UserError(
            source, "; ".join(wrong), "give the weights that belong to the config.json beside them"
        )
