"""Checkpoints in OpenCLIP's key layout as transformers ``CLIPModel``s.

The released human preference scores come as one pickled file in that layout. Both libraries compute the
same function; they differ in names, in query, key and value being one matrix or three, and in projections
being stored transposed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vader_bench.errors import UserError
from vader_bench.weights.networks import make_network
from vader_bench.weights.tensors import read_tensors, weight_faults

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPModel

__all__ = ["VIT_H_14", "Architecture", "Tower", "convert", "load_open_clip"]


@dataclass(frozen=True)
class Tower:
    """The size of a transformer; its feed-forward layers are four times as wide."""

    width: int
    layers: int
    heads: int


@dataclass(frozen=True)
class Architecture:
    """What a checkpoint does not say in full: the number of heads shows in no shape."""

    vision: Tower
    text: Tower
    embedding: int
    """Width of the space that both towers meet in."""
    patch: int
    """Side of a patch, in pixels."""
    grid: int
    """Patches on a side of the picture."""
    context: int
    """Tokens of a prompt."""
    vocabulary: int
    """Tokens known; the last one ends a prompt."""


VIT_H_14 = Architecture(
    vision=Tower(width=1280, layers=32, heads=16),
    text=Tower(width=1024, layers=24, heads=16),
    embedding=1024,
    patch=14,
    grid=16,
    context=77,
    vocabulary=49408,
)
"""What HPS v2 and v2.1 are fine-tuned from (laion/CLIP-ViT-H-14-laion2B-s32B-b79K, MIT licence)."""

_LAYER_NAMES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_NAMES = {
    "logit_scale": "logit_scale",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",  # so spelled in transformers
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
_TRANSPOSED = {
    "text_projection": "text_projection.weight",
    "visual.proj": "visual_projection.weight",
}


def load_open_clip(path: Path, architecture: Architecture | None = None) -> CLIPModel:
    """Return the frozen CLIP in the file ``path``: float32, on the CPU, eval mode.

    Args:
        path: tensors by OpenCLIP key, pickled, alone or under the key ``state_dict``. No code in the pickle
            is run.
        architecture: of the checkpoint; that of the released HPS files where it is ``None``.

    Raises:
        UserError: the file is something else, or its keys or shapes are not those of ``architecture``.
    """
    remedy = "give HPS_v2_compressed.pt or HPS_v2.1_compressed.pt from https://huggingface.co/xswu/HPSv2"
    state = read_tensors(path, remedy)
    architecture = architecture or VIT_H_14
    _check(str(path), state, architecture, remedy)
    return _build(convert(state, architecture), architecture, str(path))


def convert(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Return ``state`` under the names and in the shapes of a transformers ``CLIPModel``, float32.

    Args:
        state: tensors by OpenCLIP key, exactly those of ``architecture``.
        architecture: of the checkpoint.
    """
    converted = {new: state[old] for old, new in _NAMES.items()}
    converted |= {new: state[old].T.contiguous() for old, new in _TRANSPOSED.items()}
    for old_tower, new_tower, tower in _towers(architecture):
        for i in range(tower.layers):
            old, new = f"{old_tower}.resblocks.{i}", f"{new_tower}.encoder.layers.{i}"
            for kind in ("weight", "bias"):
                for old_name, new_name in _LAYER_NAMES.items():
                    converted[f"{new}.{new_name}.{kind}"] = state[f"{old}.{old_name}.{kind}"]
                parts = state[f"{old}.attn.in_proj_{kind}"].chunk(3)
                for letter, part in zip("qkv", parts, strict=True):
                    converted[f"{new}.self_attn.{letter}_proj.{kind}"] = part.contiguous()
    return {name: tensor.float() for name, tensor in converted.items()}


def _towers(architecture: Architecture) -> list[tuple[str, str, Tower]]:
    """Return prefix in OpenCLIP, prefix in transformers, and size of each tower."""
    return [
        ("transformer", "text_model", architecture.text),
        ("visual.transformer", "vision_model", architecture.vision),
    ]


def _build(converted: dict[str, Tensor], architecture: Architecture, source: str) -> CLIPModel:
    from transformers import CLIPModel

    model: CLIPModel = make_network(lambda: CLIPModel(_config(architecture)), converted, source)
    return model


def _config(architecture: Architecture) -> CLIPConfig:
    from transformers import CLIPConfig

    end = architecture.vocabulary - 1
    return CLIPConfig(
        text_config=_tower_config(architecture.text)
        | {"vocab_size": architecture.vocabulary, "max_position_embeddings": architecture.context}
        | {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end},
        vision_config=_tower_config(architecture.vision)
        | {"image_size": architecture.grid * architecture.patch, "patch_size": architecture.patch},
        projection_dim=architecture.embedding,
    )


def _tower_config(tower: Tower) -> dict[str, Any]:
    return {
        "hidden_size": tower.width,
        "intermediate_size": 4 * tower.width,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.heads,
        "hidden_act": "gelu",  # the exact one; OpenAI's own models have an approximation
    }


def _shapes(architecture: Architecture) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield every key of a checkpoint with its shape."""
    vision, text = architecture.vision.width, architecture.text.width
    yield "logit_scale", ()
    yield "positional_embedding", (architecture.context, text)
    yield "token_embedding.weight", (architecture.vocabulary, text)
    yield "text_projection", (text, architecture.embedding)
    yield "visual.class_embedding", (vision,)
    yield "visual.conv1.weight", (vision, 3, architecture.patch, architecture.patch)
    yield "visual.positional_embedding", (architecture.grid**2 + 1, vision)
    yield "visual.proj", (vision, architecture.embedding)
    for name, width in (("ln_final", text), ("visual.ln_pre", vision), ("visual.ln_post", vision)):
        yield f"{name}.weight", (width,)
        yield f"{name}.bias", (width,)
    for prefix, _, tower in _towers(architecture):
        for i in range(tower.layers):
            yield from _layer_shapes(f"{prefix}.resblocks.{i}", tower.width)


def _layer_shapes(prefix: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, outputs, inputs in (
        ("attn.in_proj_", 3 * width, width),
        ("attn.out_proj.", width, width),
        ("mlp.c_fc.", 4 * width, width),
        ("mlp.c_proj.", width, 4 * width),
    ):
        yield f"{prefix}.{name}weight", (outputs, inputs)
        yield f"{prefix}.{name}bias", (outputs,)
    for name in ("ln_1", "ln_2"):
        yield f"{prefix}.{name}.weight", (width,)
        yield f"{prefix}.{name}.bias", (width,)


def _check(given: str, state: Mapping[str, Tensor], architecture: Architecture, remedy: str) -> None:
    """Refuse a checkpoint that is not wholly the ``architecture``'s, with every key that is amiss."""
    wanted = {name: torch.Size(shape) for name, shape in _shapes(architecture)}
    faults = weight_faults(wanted, state)
    if faults:
        raise UserError(given, "; ".join(faults), remedy)
