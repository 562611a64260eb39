"""Folders that diffusers' pipelines save, read part by part: whole or not at all."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from transformers import PreTrainedModel

from vader_bench.errors import ExitCode, UserError, shown
from vader_bench.files import read_json
from vader_bench.weights.tensors import UNREADABLE, read_tensors, weight_faults
from vader_bench.weights.tokenizers import refuse_long

__all__ = [
    "config_number",
    "fill",
    "latent_sizes",
    "load_network",
    "plain_text",
    "read_table",
    "read_weights",
    "require_equal",
    "require_parts",
    "tokenize",
]

_VARIANTS = ("", ".fp16", ".bf16")
_NAMES = tuple(
    f"{stem}{variant}.{ending}"
    for library in (
        (("diffusion_pytorch_model", "safetensors"), ("diffusion_pytorch_model", "bin")),
        (("model", "safetensors"), ("pytorch_model", "bin")),
    )
    for stem, ending in library
    for variant in _VARIANTS
)
"""What diffusers and transformers call weights; the first one there is read. An index lists several files."""
_OUTDATED = (r"(^|\.)embeddings\.position_ids$",)
"""Buffers that transformers used to store and now makes again."""
_REMEDY = "give a whole folder written by save_pretrained"


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


def read_table(path: Path) -> dict[str, Any]:
    """Return the table in the JSON file ``path``.

    Raises:
        UserError: it is missing or holds something else.
    """
    table = read_json(path)
    if not isinstance(table, dict):
        raise UserError(str(path), "is not a table", _REMEDY)
    return table


def load_network(kind: Any, folder: Path) -> Any:
    """Return the network in ``folder``: float32, on the CPU, eval mode, no parameter wants a gradient.

    Args:
        kind: class of diffusers or transformers.
        folder: what its ``save_pretrained`` wrote; weights in any precision, as safetensors or as pickles, in
            which nothing is run.

    Raises:
        UserError: the folder holds another class of network, or weights that do not fit its config; every
            missing, unknown and mis-shaped one is named.
    """
    config = read_table(folder / "config.json")
    stored = read_weights(folder)
    # some weights are drawn before they are emptied: the draws must not be seen outside
    with torch.random.fork_rng(devices=[]), init_empty_weights():
        network = _empty(kind, config, folder)
    unread = getattr(kind, "_keys_to_ignore_on_load_unexpected", None) or []
    fill(network, stored, str(folder), [*unread, *_OUTDATED])
    return network.requires_grad_(False).eval()


def config_number(config: Mapping[str, Any], key: str, source: str) -> float:
    """Return the number ``key`` of a network's configuration.

    Raises:
        UserError: it is something else.
    """
    value = config[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{source}: {key} = {shown(value)}", "is not a number", _REMEDY)
    return float(value)


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
    if len(set(sizes.values())) > 1:
        told = " and ".join(f"{name} = {size}" for name, size in sizes.items())
        raise UserError(str(source), f"has {told}", "give networks that belong together")


def _empty(kind: Any, config: dict[str, Any], folder: Path) -> Any:
    """Return a network of ``config`` on the meta device."""
    transformers = issubclass(kind, PreTrainedModel)
    wanted = kind.config_class.model_type if transformers else kind.__name__
    found = config.get("model_type" if transformers else "_class_name")
    if found != wanted:
        raise UserError(str(folder), f"holds a network of type {found!r}", f"give one of type {wanted!r}")
    try:
        return kind(kind.config_class.from_dict(config)) if transformers else kind.from_config(config)
    except UNREADABLE as error:
        remedy = f"{_REMEDY}, by this version of {kind.__module__.partition('.')[0]} or an older one"
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(str(folder / "config.json"), f"describes no network ({reason})", remedy) from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return all weights in ``folder`` by name, from one file or from those its index lists.

    Raises:
        UserError: there is no file, or one cannot be read.
    """
    for name in _NAMES:
        files = [name] if (folder / name).is_file() else _listed_files(folder, name)
        weights = [read_tensors(folder / file, _REMEDY) for file in files]
        if files:
            return {key: value for part in weights for key, value in part.items()}
    raise UserError(str(folder), f"has none of {', '.join(_NAMES)}", _REMEDY, exit_code=ExitCode.MISSING)


def _listed_files(folder: Path, name: str) -> list[str]:
    """Return the files in place of ``name`` that an index lists, by either way to name it; none without one.

    Raises:
        UserError: the index lists no files.
    """
    stem, _, ending = name.rpartition(".")
    base, dot, variant = stem.partition(".")
    for index in (f"{name}.index.json", f"{base}.{ending}.index{dot}{variant}.json"):
        if not (folder / index).is_file():
            continue
        listed = read_table(folder / index).get("weight_map")
        if not isinstance(listed, dict) or not all(isinstance(file, str) for file in listed.values()):
            raise UserError(str(folder / index), "lists no files of weights", _REMEDY)
        return sorted(set(listed.values()))
    return []


def fill(network: nn.Module, stored: dict[str, Tensor], source: str, unread: Sequence[str] = ()) -> None:
    """Give every weight of ``network``, which may be on the meta device, its value in float32.

    Args:
        network: a weight with two names may be stored by either.
        stored: by name; attention may have the names that diffusers gave it before version 0.18.
        source: for messages.
        unread: patterns of names that may be there without being wanted.

    Raises:
        UserError: names or shapes differ, all of them told; nothing is changed.
    """
    rename = getattr(network, "_fix_state_dict_keys_on_load", None)
    if rename is not None:
        rename(stored)
    wanted = network.state_dict(keep_vars=True)
    names: dict[int, list[str]] = {}
    for name, weight in wanted.items():
        names.setdefault(id(weight), []).append(name)
    given = {group[0]: next((name for name in group if name in stored), group[0]) for group in names.values()}
    needed = {*given.values(), *stored}
    shapes = {name: weight.shape for name, weight in wanted.items() if name in needed}
    wrong = weight_faults(shapes, stored, lambda name: any(re.search(pattern, name) for pattern in unread))
    if wrong:
        raise UserError(source, "; ".join(wrong), _REMEDY)
    state: dict[str, Tensor] = {}
    for group in names.values():
        value = stored[given[group[0]]]
        value = value.float() if value.is_floating_point() else value
        if isinstance(wanted[group[0]], nn.Parameter):
            value = nn.Parameter(value, requires_grad=False)  # one object for all names keeps them tied
        state |= dict.fromkeys(group, value)
    network.load_state_dict(state, assign=True)
