"""Tensors in files: read without running anything in them, and held against what a network wants."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vader_bench.errors import UserError

__all__ = ["read_tensors", "weight_faults"]

_WRAPPERS = ("state_dict", "module")
"""Keys under which Lightning and DeepSpeed put the tensors of a pickle."""


def read_tensors(path: Path, remedy: str) -> dict[str, Tensor]:
    """Return the tensors in ``path`` by name, on the CPU.

    Args:
        path: safetensors by its suffix, else a pickle, alone or under ``state_dict`` or ``module``. No code
            in a pickle is run.
        remedy: what to do if that fails.

    Raises:
        UserError: the file cannot be read, or is something else than a table of tensors.
    """
    found: Any
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise UserError(str(path), "cannot be read as weights", remedy) from error
    for wrapper in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
            break
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(str(path), "is not a table of tensors by name", remedy)
    return {str(name): value for name, value in found.items()}


def weight_faults(
    wanted: Mapping[str, torch.Size],
    stored: Mapping[str, Tensor],
    spare: Callable[[str], object] = lambda _: False,
) -> list[str]:
    """Return all that is wrong with ``stored`` as weights of the shapes ``wanted``, in words, by name.

    Args:
        wanted: shapes by name.
        stored: what a file holds.
        spare: whether a name may be there without being wanted.
    """
    faults = [f"lacks {name}" for name in sorted(wanted.keys() - stored.keys())]
    surplus = sorted(stored.keys() - wanted.keys())
    faults += [f"has an unknown {name}" for name in surplus if not spare(name)]
    return faults + [
        f"has {name} of shape {list(stored[name].shape)}, not {list(shape)}"
        for name, shape in sorted(wanted.items())
        if name in stored and stored[name].shape != shape
    ]
