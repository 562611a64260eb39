"""A tiny random VideoCrafter2 in the layout of the released checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vader_bench.backbones.videocrafter2 import VideoCrafter2Config, make_first_stage, make_text_encoder
from vader_bench.backbones.videocrafter2_keys import Origin, denoiser_origin, first_stage_origin, text_origin
from vader_bench.backbones.videocrafter2_unet import VideoCrafter2UNet

SIZES: dict[str, Any] = {
    "unet": {
        "model_channels": 32,
        "channel_mult": [1, 2],
        "num_res_blocks": 1,
        "attention_resolutions": [1],
        "num_head_channels": 8,
        "context_dim": 16,
        "temporal_length": 4,
    },
    "first_stage": {"ch": 32, "ch_mult": [1, 1], "num_res_blocks": 1},
    "text": {"width": 16, "heads": 2, "layers": 2, "vocab_size": 514, "context_length": 32},
}
"""Latents 4 x 4 x 4 x 4 (C, F, h, w) for pictures of 8 x 8 pixels."""

Networks = tuple[VideoCrafter2UNet, nn.Module, nn.Module]


def empty_networks(config: VideoCrafter2Config) -> Networks:
    """Return denoiser, first stage and text encoder on the meta device: shapes, no memory."""
    with torch.device("meta"):
        return (
            VideoCrafter2UNet(config.unet),
            make_first_stage(config.first_stage),
            make_text_encoder(config.text, 0, 1),
        )


def random_weights(seed: int = 0) -> dict[str, Tensor]:
    """Return weights for all networks of ``SIZES`` by their names in the file."""
    config = VideoCrafter2Config.model_validate(SIZES)
    generator = torch.Generator().manual_seed(seed)
    origins: tuple[Callable[[str], Origin], ...] = (
        denoiser_origin,
        partial(first_stage_origin, levels=2),
        text_origin,
    )
    weights = {}
    for network, origin in zip(empty_networks(config), origins, strict=True):
        for name, weight in network.state_dict().items():
            place = origin(name)
            shape = place.shape(weight.shape)
            centre = 1.0 if weight.ndim == 1 and name.endswith("weight") else 0.0  # scales of norms
            weights[place.key] = centre + 0.1 * torch.randn(shape, generator=generator)
    return weights


def write_model(folder: Path, tokenizer: Path, weights: dict[str, Tensor] | None = None) -> Path:
    """Write a folder for the loader, with ``weights`` (random ones by default), and return it."""
    folder.mkdir(exist_ok=True)
    shutil.copytree(tokenizer, folder / "tokenizer")
    (folder / "config.json").write_text(json.dumps(SIZES), "utf-8")
    save_file(random_weights() if weights is None else weights, folder / "model.safetensors")
    return folder
