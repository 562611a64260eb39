"""The files of adapters that others have made: where they are, and their digest. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from vader_bench.config.names import ADAPTER_NAME
from vader_bench.errors import UserError
from vader_bench.weights.resolve import digest_of, resolve

__all__ = ["DIFFUSERS_NAME", "PEFT_CONFIG", "PEFT_NAMES", "adapter_digest", "adapter_files"]

DIFFUSERS_NAME = "pytorch_lora_weights.safetensors"
"""As diffusers calls the file; of a second network, with the name of its folder and ``_`` before it."""
PEFT_CONFIG = "adapter_config.json"
PEFT_NAMES = ("adapter_model.safetensors", "adapter_model.bin")


def adapter_files(name: str) -> list[Path]:
    """Return the files of the adapters ``name``: their weights, and peft's configuration where there is one.

    Args:
        name: a file, or the folder of a run, of peft or of diffusers; as for ``weights.resolve``.

    Raises:
        UserError: there is no such path, or a folder holds no adapters.
    """
    path = resolve(name)
    if path.is_file():
        config = path.parent / PEFT_CONFIG
        return [path, config] if path.name in PEFT_NAMES and config.is_file() else [path]
    if (path / PEFT_CONFIG).is_file():
        found = [path / one for one in PEFT_NAMES if (path / one).is_file()][:1]
        if not found:
            raise UserError(str(path), f"has {PEFT_CONFIG} and no {PEFT_NAMES[0]}", "save the adapters again")
        return [*found, path / PEFT_CONFIG]
    if (path / ADAPTER_NAME).is_file():
        return [path / ADAPTER_NAME]
    if found := sorted(path.glob(f"*{DIFFUSERS_NAME}")):
        return found
    wrong = f"holds no adapters: neither {PEFT_CONFIG} nor {ADAPTER_NAME} nor {DIFFUSERS_NAME}"
    raise UserError(str(path), wrong, "give the file, or a folder that has one of them")


def adapter_digest(name: str) -> str:
    """Return the SHA-256 of the file of the adapters ``name``; one for all where they have several.

    Raises:
        UserError: as ``adapter_files``.
    """
    return digest_of(adapter_files(name))
