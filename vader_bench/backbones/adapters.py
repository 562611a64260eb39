"""Adapters that others have made, held against a denoiser: every key fits, and none is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vader_bench.backbones.base import BackboneFactory
from vader_bench.diffusion.lora import AdapterFile
from vader_bench.errors import UserError
from vader_bench.weights.adapters import StoredAdapter, StoredLayer, StoredPart, faults_told

if TYPE_CHECKING:
    from peft import LoraConfig

__all__ = ["fit_adapter"]


def fit_adapter(
    stored: StoredAdapter, factory: BackboneFactory, denoiser: nn.Module, source: str
) -> AdapterFile:
    """Return ``stored`` as adapters of ``denoiser`` in this program's form: of one rank, the scale in ``B``.

    Args:
        stored: what files hold.
        factory: of the denoiser's family.
        denoiser: without adapters; it may be on the device ``meta``, and stays as it is.
        source: what messages call the adapters.

    Raises:
        UserError: a layer is not in the denoiser or has another size there; or one is missing that the file's
            own configuration names, or, where it has none, that is like one that it adapts.
    """
    modules = dict(denoiser.named_modules())
    prefixes = {part: prefix for prefix, part in factory.denoiser_parts(modules).items()}
    layers: dict[str, tuple[StoredLayer, float]] = {}
    faults: list[str] = []
    for name, part in stored.parts.items():
        prefix = _prefix(name, prefixes)
        if prefix is None:
            faults.append(f"has adapters of {name}, which the model does not have")
            continue
        faults += _part_faults(part, prefix, modules)
        scales = {layer: _scale(part.config, layer, pair) for layer, pair in part.layers.items()}
        layers |= {f"{prefix}{layer}": (pair, scales[layer]) for layer, pair in part.layers.items()}
    if faults:
        remedy = "give adapters of this model, whole and in one of the forms that are documented"
        raise UserError(source, faults_told(faults), remedy)
    rank = max(len(pair.low) for pair, _ in layers.values())
    weights: dict[str, Tensor] = {}
    for layer, (pair, scale) in sorted(layers.items()):
        more = rank - len(pair.low)
        weights[f"{layer}.lora_A.weight"] = torch.cat(
            [pair.low.float(), torch.zeros(more, pair.low.shape[1])]
        )
        weights[f"{layer}.lora_B.weight"] = torch.cat(
            [pair.high.float() * scale, torch.zeros(len(pair.high), more)], dim=1
        )
    return AdapterFile(weights, rank, _targets(layers, modules))


def _prefix(part: str, prefixes: Mapping[str, str]) -> str | None:
    """Return what the names of a network's layers begin with here; ``None`` where it is no part of the model.

    A model with one network has it whatever the file calls it: families that diffusers does not have are
    published under either name.
    """
    if part == "" or (len(prefixes) == 1 and part in {"unet", "transformer"}):
        return ""
    return prefixes.get(part)


def _part_faults(part: StoredPart, prefix: str, modules: Mapping[str, nn.Module]) -> Iterator[str]:
    from peft.utils.other import get_pattern_key

    config, ranks = part.config, part.config.rank_pattern or {}
    for layer, (low, high) in part.layers.items():
        found = modules.get(f"{prefix}{layer}")
        weight = _matrix(found)
        told = ranks.get(get_pattern_key(list(ranks), layer), config.r)
        if found is None:
            yield f"has an unknown {prefix}{layer}"
        elif weight is None:
            yield f"adapts {prefix}{layer}, which is no linear layer"
        elif (high.shape[0], low.shape[1]) != tuple(weight.shape):
            shape = [high.shape[0], low.shape[1]]
            yield f"has {prefix}{layer} of shape {shape}, not {list(weight.shape)}"
        elif len(low) != told:
            yield f"has {prefix}{layer} of rank {len(low)}, and its configuration says {told}"
    yield from (f"lacks {name}" for name in _missing(part, prefix, modules))


def _missing(part: StoredPart, prefix: str, modules: Mapping[str, nn.Module]) -> list[str]:
    """Return the layers that ought to be adapted and are not.

    They are those that the file's configuration names; without one, those that differ from adapted ones in
    the numbers of their blocks alone.
    """
    from peft.tuners.tuners_utils import check_target_module_exists

    adapted = {f"{prefix}{layer}" for layer in part.layers}
    inside = [name for name in modules if name.startswith(prefix) and name not in adapted]
    if part.names_layers:
        return [n for n in inside if check_target_module_exists(part.config, n.removeprefix(prefix))]
    kinds = {_kind(name) for name in adapted}
    return [n for n in inside if _kind(n) in kinds and _matrix(modules[n]) is not None]


def _matrix(module: nn.Module | None) -> Tensor | None:
    """Return the weight of a linear layer."""
    weight = getattr(module, "weight", None)
    return weight if isinstance(weight, Tensor) and weight.ndim == 2 else None


def _kind(name: str) -> str:
    return re.sub(r"\d+", "*", name)


def _scale(config: LoraConfig, layer: str, pair: StoredLayer) -> float:
    """Return alpha / rank, or what the configuration has in its place, as peft computes it."""
    from peft.utils.other import get_pattern_key

    alphas = config.alpha_pattern or {}
    alpha = alphas.get(get_pattern_key(list(alphas), layer), config.lora_alpha)
    rank = len(pair.low)
    return float(alpha) / (math.sqrt(rank) if config.use_rslora else rank)


def _targets(layers: Mapping[str, object], modules: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Return endings of names that ``layers`` have, and no other of ``modules``: the shortest of each."""
    found: dict[str, None] = {}
    for layer in layers:
        words = layer.split(".")
        for count in range(1, len(words) + 1):
            ending = ".".join(words[-count:])
            if ending in found:
                break
            named = [name for name in modules if f".{name}".endswith(f".{ending}")]
            if count == len(words) or all(name in layers for name in named):
                found[ending] = None
                break
    return tuple(found)
