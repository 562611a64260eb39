"""Adapters that others have made, read from the forms that they are published in, each key accounted for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import safe_open
from torch import Tensor

from vader_bench.diffusion.lora import is_own_file, read_adapter
from vader_bench.errors import UserError
from vader_bench.files import read_json
from vader_bench.plainjson import NotJsonError, parse_json
from vader_bench.weights.adapter_files import DIFFUSERS_NAME, PEFT_CONFIG, adapter_files
from vader_bench.weights.tensors import read_tensors

if TYPE_CHECKING:
    from peft import LoraConfig

__all__ = ["StoredAdapter", "StoredLayer", "StoredPart", "faults_told", "read_stored"]

_SIDES = {"lora_A": 0, "lora_down": 0, "lora.down": 0, "lora_B": 1, "lora_up": 1, "lora.up": 1}
_WEIGHT = re.compile(rf"(.+)\.({'|'.join(map(re.escape, _SIDES))})(?:\.default)?\.weight")
_ALPHA = re.compile(r"(.+)\.alpha")
_PEFT = "base_model.model."
_NETWORK = re.compile(r"(unet|transformer(?:_2)?)\.(.+)")
_METADATA = "lora_adapter_metadata"
"""Where newer versions of diffusers keep peft's configuration, by the name of the network."""
_PLAIN = (True, False, "gaussian", "eva", "orthogonal")
"""Starts of adapters that leave the weights beneath them alone."""
_REMEDY = "give adapters in diffusers', peft's or this program's form, or a .pt with peft's keys"
_MOST = 3


class StoredLayer(NamedTuple):
    """Adapters of one layer: ``W x + scale B A x``."""

    low: Tensor
    """A [rank, inputs]."""
    high: Tensor
    """B [outputs, rank]."""


class StoredPart(NamedTuple):
    """Adapters of one network."""

    layers: dict[str, StoredLayer]
    """By the layer's name in the network."""
    config: LoraConfig
    """What decides their ranks and scales."""
    names_layers: bool
    """Whether ``config`` also says which layers there are, and was not made of those that are there."""


class StoredAdapter(NamedTuple):
    """What the files of adapters hold."""

    form: str
    """Whose form it is, in words."""
    parts: dict[str, StoredPart]
    """By the folder that the network has in a diffusers pipeline; empty for the whole denoiser."""


def read_stored(name: str, alpha: float | None = None) -> StoredAdapter:
    """Return the adapters ``name``.

    Args:
        name: as for ``adapter_files``.
        alpha: what they are scaled by, divided by the rank; only where the files do not say it.

    Raises:
        UserError: there are no such files, or they cannot be read, hold a key that is none of adapters or one
            without its other half, say nothing of their scale while ``alpha`` is ``None``, or are of a kind
            that is more than ``W x + scale B A x`` on linear layers.
    """
    first, *more = adapter_files(name)
    if first.suffix == ".safetensors" and is_own_file(first):
        _refuse_alpha(first, alpha)
        found = read_adapter(first)
        layers = _layers(first, found.weights)[0]
        settings = {"r": found.rank, "lora_alpha": found.rank, "target_modules": list(found.targets)}
        config = _config(first, settings)
        return StoredAdapter("this program's form", {"": StoredPart(layers, config, names_layers=True)})
    tensors = read_tensors(first, _REMEDY)
    if all(key.startswith(_PEFT) for key in tensors) and tensors:
        return _peft(first, tensors, more, alpha)
    parts: dict[str, StoredPart] = {}
    for path in [path for path in (first, *more) if path.name != PEFT_CONFIG]:
        second = path.name.removesuffix(DIFFUSERS_NAME).removesuffix("_")
        for network, part in _diffusers(path, read_tensors(path, _REMEDY), alpha).items():
            meant = second if second == "transformer_2" else network
            if meant in parts:
                wrong = f"has adapters of {meant}, and so has another file of its folder"
                raise UserError(str(path), wrong, "name the file that is meant")
            parts[meant] = part
    return StoredAdapter("diffusers' form", parts)


def faults_told(faults: list[str]) -> str:
    """Return the first of ``faults`` in a line, and how many there are beside them."""
    more = f", and {len(faults) - _MOST} more faults" if len(faults) > _MOST else ""
    return "; ".join(faults[:_MOST]) + more


def _peft(path: Path, tensors: Mapping[str, Tensor], more: list[Path], alpha: float | None) -> StoredAdapter:
    """Return adapters with peft's keys: with its configuration, or without as VADER's code writes them."""
    layers, alphas = _layers(path, {key.removeprefix(_PEFT): value for key, value in tensors.items()})
    if more:
        _refuse_alpha(more[0], alpha)
        config = _config(more[0], _peft_settings(more[0]))
        return StoredAdapter("peft's form", {"": StoredPart(layers, config, names_layers=True)})
    if alpha is None and not alphas:
        wrong = "has adapters of peft and says nothing of their alpha, which decides how strong they are"
        remedy = "write `alpha` beside `adapter`; it is 8, peft's default, for those of VADER's authors"
        raise UserError(str(path), wrong, remedy)
    config = _inferred(path, layers, alphas, alpha)
    return StoredAdapter("peft's keys", {"": StoredPart(layers, config, names_layers=False)})


def _diffusers(path: Path, tensors: Mapping[str, Tensor], alpha: float | None) -> dict[str, StoredPart]:
    """Return adapters with diffusers' keys by network: what ``pipe.load_lora_weights`` makes of them."""
    by_network: dict[str, dict[str, Tensor]] = {}
    strange = []
    for key, tensor in tensors.items():
        if match := _NETWORK.fullmatch(key):
            by_network.setdefault(match[1], {})[match[2]] = tensor
        else:
            strange.append(key)
    _refuse(path, [f"has an unknown {key}" for key in strange] or ([] if tensors else ["is empty"]))
    told = _told_configs(path)
    parts = {}
    for network, own in by_network.items():
        layers, alphas = _layers(path, own)
        settings = {
            key.removeprefix(f"{network}."): v for key, v in told.items() if key.startswith(f"{network}.")
        }
        if settings:
            _refuse_alpha(path, alpha)
        config = _config(path, settings) if settings else _inferred(path, layers, alphas, alpha)
        parts[network] = StoredPart(layers, config, names_layers=bool(settings))
    return parts


def _layers(path: Path, tensors: Mapping[str, Tensor]) -> tuple[dict[str, StoredLayer], dict[str, float]]:
    """Return the layers and the alphas in ``tensors``; names in messages are those of the file's network."""
    sides: dict[str, list[Tensor | None]] = {}
    alphas, faults = {}, []
    for key, tensor in tensors.items():
        if match := _WEIGHT.fullmatch(key):
            sides.setdefault(match[1], [None, None])[_SIDES[match[2]]] = tensor
        elif (match := _ALPHA.fullmatch(key)) and tensor.numel() == 1 and not tensor.is_complex():
            alphas[match[1]] = float(tensor)
        else:
            faults.append(f"has an unknown {key}")
    faults += [f"has an alpha of {layer}, which it does not adapt" for layer in alphas.keys() - sides.keys()]
    layers = {}
    for layer, (low, high) in sides.items():
        faults += _pair_faults(layer, low, high)
        if low is not None and high is not None:
            layers[layer] = StoredLayer(low, high)
    _refuse(path, faults)
    return layers, alphas


def _pair_faults(layer: str, low: Tensor | None, high: Tensor | None) -> Iterator[str]:
    if low is None or high is None:
        yield f"lacks {layer}.{'lora_A' if low is None else 'lora_B'}.weight"
    elif low.ndim != 2 or high.ndim != 2:
        yield f"adapts {layer}, which is no linear layer"
    elif low.shape[0] != high.shape[1]:
        yield f"has {layer} of ranks {low.shape[0]} and {high.shape[1]}"


def _told_configs(path: Path) -> dict[str, Any]:
    """Return what the metadata of a file of diffusers says of its adapters."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, framework="pt") as file:
        told = (file.metadata() or {}).get(_METADATA)
    try:
        found = parse_json(told) if told else {}
    except NotJsonError as error:
        raise UserError(str(path), f"has metadata {_METADATA} that is no JSON", "save it again") from error
    return found if isinstance(found, dict) else {}


def _peft_settings(path: Path) -> dict[str, Any]:
    """Return what peft's configuration says, but for what this version of peft does not know and is unset."""
    from dataclasses import fields

    from peft import LoraConfig

    found = read_json(path, finite=False)
    if not isinstance(found, dict) or found.get("peft_type") != "LORA":
        kind = found.get("peft_type") if isinstance(found, dict) else None
        raise UserError(str(path), f"is of the kind {kind!r}, not 'LORA'", "give low-rank adapters")
    known = {field.name for field in fields(LoraConfig)}
    return {key: value for key, value in found.items() if key in known or value}


def _config(path: Path, settings: Mapping[str, Any]) -> LoraConfig:
    """Return ``settings`` as peft's configuration.

    Raises:
        UserError: peft refuses them, or they ask for more than ``W x + scale B A x``.
    """
    from peft import LoraConfig

    try:
        config = LoraConfig(**settings)
    except (TypeError, ValueError) as error:
        raise UserError(str(path), f"is refused by peft ({error})", _REMEDY) from error
    odd = [
        name
        for name in ("use_dora", "lora_bias", "modules_to_save", "target_parameters", "layer_replication",
                     "use_qalora", "use_bdlora", "trainable_token_indices", "alora_invocation_tokens",
                     "arrow_config", "kasa_config", "monteclora_config", "velora_config")
        if getattr(config, name, None)
    ]  # fmt: skip
    odd += [] if config.init_lora_weights in _PLAIN else ["init_lora_weights"]
    odd += [] if config.bias == "none" else ["bias"]
    if odd:
        wrong = f"has {', '.join(odd)} set: its adapters are more than low-rank sums"
        raise UserError(str(path), wrong, "give plain LoRA, or merge the adapters into a folder of weights")
    return config


def _inferred(
    path: Path, layers: Mapping[str, StoredLayer], alphas: Mapping[str, float], alpha: float | None
) -> LoraConfig:
    """Return the configuration that diffusers makes of ranks and alphas in a file.

    Without any alpha it takes the rank of the first layer for it.
    """
    from diffusers.utils.peft_utils import get_peft_kwargs

    if alphas:
        _refuse_alpha(path, alpha)
    given = dict(alphas) if alpha is None else dict.fromkeys(layers, alpha)
    ranks = {f"^{layer}": pair.low.shape[0] for layer, pair in layers.items()}
    state = {f"{layer}.lora_A.weight": pair.low for layer, pair in layers.items()}
    scales = {f"{layer}.alpha": value for layer, value in given.items()} or None
    return _config(path, get_peft_kwargs(ranks, scales, state))


def _refuse_alpha(path: Path, alpha: float | None) -> None:
    if alpha is not None:
        raise UserError(str(path), "says its alpha itself", "take `alpha` out of the experiment")


def _refuse(path: Path, faults: list[str]) -> None:
    if faults:
        raise UserError(str(path), faults_told(faults), _REMEDY)
