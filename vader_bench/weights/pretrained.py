"""Frozen networks from transformers folders, whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from vader_bench.errors import UserError
from vader_bench.files import read_json
from vader_bench.weights.tensors import UNREADABLE

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["load_frozen", "quiet_transformers"]

M = TypeVar("M", bound="PreTrainedModel")

_REMEDY = "give a folder written by save_pretrained, with config.json and model.safetensors"


def load_frozen(kind: type[M], folder: Path) -> M:
    """Return the network in ``folder``: float32, on the CPU, eval mode, no parameter wants a gradient.

    Nothing is downloaded, and nothing that the folder lacks is made up.

    Args:
        kind: transformers class.
        folder: what its ``save_pretrained`` wrote; weights as safetensors, in any precision.

    Raises:
        UserError: the folder holds another architecture, or weights that do not fit its config.
    """
    wanted = kind.config_class.model_type
    config = read_json(folder / "config.json")
    found = config.get("model_type") if isinstance(config, dict) else None
    if found != wanted:
        raise UserError(f"{folder}", f"holds a model of type {found!r}", f"give one of type {wanted!r}")
    try:
        # from_pretrained draws what it then replaces
        with quiet_transformers(), torch.random.fork_rng(devices=[]):
            loaded: tuple[M, dict[str, Any]] = kind.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except UNREADABLE as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{folder}", f"cannot be loaded ({lines[-1].strip()})", _REMEDY) from error
    model, info = loaded
    lacking = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if lacking:
        raise UserError(f"{folder}", f"lacks {len(lacking)} weights, {lacking[0]} first", _REMEDY)
    model.requires_grad_(False)  # from_pretrained has set eval mode
    return model


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from writing notes and progress bars between a run's own lines."""
    from transformers.utils import logging as notes

    verbosity, bars = notes.get_verbosity(), notes.is_progress_bar_enabled()
    notes.set_verbosity(logging.ERROR)
    notes.disable_progress_bar()
    try:
        yield
    finally:
        notes.set_verbosity(verbosity)
        if bars:
            notes.enable_progress_bar()
