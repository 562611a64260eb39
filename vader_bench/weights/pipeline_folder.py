"""Folders that diffusers' pipelines save: their parts, sizes that must fit each other, and texts."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vader_bench.errors import ExitCode, UserError, shown
from vader_bench.weights.tensors import WHOLE_FOLDER
from vader_bench.weights.tokenizers import refuse_long

__all__ = [
    "config_number",
    "config_sizes",
    "config_whole",
    "latent_sizes",
    "plain_text",
    "require_equal",
    "require_parts",
    "tokenize",
]


def require_parts(folder: Path, parts: Sequence[str], pipeline: str) -> None:
    """Check that ``folder`` has all of ``parts``, the folders of a ``pipeline``.

    Raises:
        UserError: some are missing; all of them are reported.
    """
    lacking = [part for part in parts if not (folder / part).is_dir()]
    if lacking:
        raise UserError(
            str(folder),
            f"has no folder {', '.join(map(repr, lacking))}",
            f"give a folder with {', '.join(parts)}, as {pipeline} has them",
            exit_code=ExitCode.MISSING,
        )


def config_number(config: Mapping[str, Any], key: str, source: str) -> float:
    """Return the number ``key`` of a network's configuration.

    Raises:
        UserError: it is missing, or something else.
    """
    value: Any = config.get(key)
    if not _is_number(value):
        raise UserError(f"{source}: {key} = {shown(value)}", "is not a number", WHOLE_FOLDER)
    return float(value)


def config_whole(config: Mapping[str, Any], key: str, source: str, default: int | None = None) -> int:
    """Return the size ``key`` of a network's configuration, a whole number from 1 on.

    Args:
        config: of the network.
        key: of the size.
        source: where the configuration comes from, for messages.
        default: where the key is missing.

    Raises:
        UserError: it is something else, or missing without a default.
    """
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{source}: {key} = {shown(value)}", "is not a whole number from 1 on", WHOLE_FOLDER)
    return value


def config_sizes(
    config: Mapping[str, Any], key: str, source: str, default: Sequence[float] | None = None
) -> list[float]:
    """Return the list of numbers ``key`` of a network's configuration; arguments as for ``config_whole``.

    Raises:
        UserError: it is something else, or has none; or it is missing without a default.
    """
    value = config.get(key, default)
    if not isinstance(value, list | tuple) or not value or not all(map(_is_number, value)):
        raise UserError(f"{source}: {key} = {shown(value)}", "is not a list of numbers", WHOLE_FOLDER)
    return list(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def plain_text(prompt: str) -> str:
    """Return ``prompt`` with escapes of HTML resolved, twice, and white space made single."""
    return " ".join(html.unescape(html.unescape(prompt)).split())


def tokenize(
    tokenizer: Any, prompts: Sequence[str], limit: int, clean: Callable[[str], str] = plain_text
) -> tuple[Tensor, Tensor]:
    """Return tokens [B, limit] and which of them are no padding [B, limit], bool.

    Args:
        tokenizer: of the text encoder.
        prompts: B of them.
        limit: how many tokens the network reads.
        clean: what the model's pipeline does to a prompt first.

    Raises:
        UserError: a prompt has more tokens than ``limit``.
    """
    cleaned = [clean(prompt) for prompt in prompts]
    found = tokenizer(cleaned, padding="max_length", max_length=limit, return_attention_mask=True)
    refuse_long(prompts, found.input_ids, limit)
    return torch.tensor(found.input_ids), torch.tensor(found.attention_mask).bool()


def latent_sizes(wanted: Mapping[str, int], factors: Mapping[str, tuple[int, int]]) -> tuple[int, int, int]:
    """Return (F, h, w) of the latents of a video of ``wanted`` frames, height and width.

    Args:
        wanted: ``frames``, ``height`` and ``width``, in pictures and pixels.
        factors: for each, how many stand for one in the latents, and how many of those the network takes
            together. The first picture stands for itself alone.

    Raises:
        UserError: a size does not fit.
    """
    sizes = []
    for name in ("frames", "height", "width"):
        size, (factor, patch) = wanted[name], factors[name]
        first = int(name == "frames")
        latent, rest = divmod(size - first, factor)
        latent += first
        if rest or latent % patch or latent < 1:
            step = factor * patch
            near = max(step, size // step * step)
            if first:
                near = max(0, latent // patch * patch - 1) * factor + 1
            more = " plus 1" if first else ""
            raise UserError(
                f"backbone.settings.{name} = {size}", f"is not a multiple of {step}{more}", f"choose {near}"
            )
        sizes.append(latent)
    return sizes[0], sizes[1], sizes[2]


def require_equal(source: Path | str, sizes: Mapping[str, int]) -> None:
    """Check that the ``sizes`` of the networks of ``source``, given by their names, are one.

    Raises:
        UserError: they differ.
    """
    first, *others = sizes.values()
    if any(size != first for size in others):
        told = " and ".join(f"{name} = {size}" for name, size in sizes.items())
        raise UserError(str(source), f"has {told}", "give networks that belong together")
