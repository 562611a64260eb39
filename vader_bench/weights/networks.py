"""Networks from folders that diffusers and transformers save, whole or not at all; and without values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vader_bench.errors import ExitCode, UserError
from vader_bench.weights.sizes import read_sizes, read_table
from vader_bench.weights.tensors import UNREADABLE, WHOLE_FOLDER, read_tensors, told_as_damaged, weight_faults

__all__ = ["bare_network", "fill", "load_network", "lowered", "make_network", "read_weights"]

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
_ENCODING = ("encoder", "quant_conv")
"""Parts of an autoencoder that encode. They overflow in float16 and run once a picture, if at all."""


def load_network(kind: Any, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """Return the network in ``folder``: on the CPU, in eval mode, no parameter wants a gradient.

    Args:
        kind: class of diffusers or transformers.
        folder: what its ``save_pretrained`` wrote; weights in any precision, as safetensors or as pickles, in
            which nothing is run.
        dtype: of the weights that are ``lowered``; the others are in float32.

    Raises:
        UserError: the folder holds another class of network, or weights that do not fit its config; every
            missing, unknown and mis-shaped one is named.
    """
    config = read_table(folder / "config.json")
    return make_network(lambda: _of_config(kind, config, folder), read_weights(folder), str(folder), dtype)


def make_network(
    make: Callable[[], Any], stored: dict[str, Tensor], source: str, dtype: torch.dtype = torch.float32
) -> Any:
    """Return the network that ``make`` builds with the weights ``stored``; else as ``load_network``.

    Args:
        make: builds the network; what it draws for its weights is not kept, and not seen outside.
        stored: by name, in any precision.
        source: for messages.
        dtype: as for ``load_network``.

    Raises:
        UserError: ``make`` refuses, or weights are missing, unknown or mis-shaped; all of them are named.
    """
    # accelerate takes seconds to import, and listing the rewards should not
    from accelerate import init_empty_weights

    with torch.random.fork_rng(devices=[]), init_empty_weights():
        network = make()
    unread = getattr(network, "_keys_to_ignore_on_load_unexpected", None) or []
    fill(network, stored, source, [*unread, *_OUTDATED], dtype)
    return network.requires_grad_(False).eval()


def bare_network(kind: Any, weights: str) -> Any:
    """Return a transformers network without values, frozen, in eval mode, on the default device.

    Args:
        kind: its class.
        weights: a name, as for ``weights.resolve``, of a folder with a ``config.json``.

    Raises:
        UserError: as ``read_sizes``.
    """
    config = read_sizes(weights, {"model": "config.json"})["model"]
    with told_as_damaged(weights):
        return kind(kind.config_class(**config)).eval().requires_grad_(False)


def _of_config(kind: Any, config: dict[str, Any], folder: Path) -> Any:
    """Return a network of ``config``, of which ``folder`` is the source."""
    transformers = hasattr(kind, "config_class")
    wanted = kind.config_class.model_type if transformers else kind.__name__
    found = config.get("model_type" if transformers else "_class_name")
    if found != wanted:
        raise UserError(str(folder), f"holds a network of type {found!r}", f"give one of type {wanted!r}")
    try:
        return kind(kind.config_class.from_dict(config)) if transformers else kind.from_config(config)
    except UNREADABLE as error:
        remedy = f"{WHOLE_FOLDER}, by this version of {kind.__module__.partition('.')[0]} or an older one"
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(str(folder / "config.json"), f"describes no network ({reason})", remedy) from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return all weights in ``folder`` by name, from one file or from those its index lists.

    Raises:
        UserError: there is no file, or one cannot be read.
    """
    for name in _NAMES:
        files = [name] if (folder / name).is_file() else _listed_files(folder, name)
        weights = [read_tensors(folder / file, WHOLE_FOLDER) for file in files]
        if files:
            return {key: value for part in weights for key, value in part.items()}
    raise UserError(str(folder), f"has none of {', '.join(_NAMES)}", WHOLE_FOLDER, exit_code=ExitCode.MISSING)


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
            raise UserError(str(folder / index), "lists no files of weights", WHOLE_FOLDER)
        return sorted(set(listed.values()))
    return []


def lowered(network: nn.Module, dtype: torch.dtype) -> list[nn.Parameter]:
    """Return the weights of ``network`` that are kept in ``dtype`` where frozen weights are.

    Of an autoencoder it is the half that decodes. Left in float32 are buffers (angles, means), what the
    network's class asks for, and trainable weights, that is adapters, which are put in later.
    """
    if dtype == torch.float32:
        return []
    decodes = hasattr(network, "decode")
    kept = {id(weight) for weight in _asked_for(network, dtype)}
    return [
        weight
        for name, weight in network.named_parameters()
        if id(weight) not in kept and not (decodes and any(part in _ENCODING for part in name.split(".")))
    ]


def _asked_for(network: nn.Module, dtype: torch.dtype) -> Iterator[nn.Parameter]:
    """Yield the weights that classes of diffusers and transformers want in float32."""
    from transformers import PreTrainedModel  # takes seconds to import, and listing the rewards should not

    for module in network.modules():
        names = set(getattr(module, "_keep_in_fp32_modules_strict", None) or ())
        if dtype == torch.float16 or not isinstance(module, PreTrainedModel):  # as transformers reads it
            names |= set(getattr(module, "_keep_in_fp32_modules", None) or ())
        for name, weight in module.named_parameters() if names else ():
            if names & set(name.split(".")):
                yield weight


def fill(
    network: nn.Module,
    stored: dict[str, Tensor],
    source: str,
    unread: Sequence[str] = (),
    dtype: torch.dtype = torch.float32,
) -> None:
    """Give every weight of ``network``, which may be on the meta device, its value.

    Args:
        network: a weight with two names may be stored by either.
        stored: by name; attention may have the names that diffusers gave it before version 0.18.
        source: for messages.
        unread: patterns of names that may be there without being wanted.
        dtype: of the weights that are ``lowered``; the others are in float32.

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
        raise UserError(source, "; ".join(wrong), WHOLE_FOLDER)
    low = {id(weight) for weight in lowered(network, dtype)}
    state: dict[str, Tensor] = {}
    for owner, group in names.items():
        value = stored[given[group[0]]]
        value = value.to(dtype if owner in low else torch.float32) if value.is_floating_point() else value
        if isinstance(wanted[group[0]], nn.Parameter):
            value = nn.Parameter(value, requires_grad=False)  # one object for all names keeps them tied
        state |= dict.fromkeys(group, value)
    network.load_state_dict(state, assign=True)
