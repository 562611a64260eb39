"""Tiny models of every family, with adapters that matter and what the model predicts with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from tests.contract.test_backbones import CASES
from vader_bench.backbones import BACKBONES, Backbone
from vader_bench.config.schema import SuiteConfig
from vader_bench.diffusion.lora import AdapterFile, Lora

__all__ = ["TAKES_ADAPTERS", "Made", "Make", "load", "maker", "predict"]

TAKES_ADAPTERS = ["wan", "wan/experts", "ltx"]
"""Cases whose pipeline of diffusers takes adapters."""


class Made(NamedTuple):
    """A model with adapters."""

    suite: SuiteConfig
    adapter: AdapterFile
    predictions: Tensor
    """Of the model with the adapters."""


Make = Callable[[str], Made]


def load(suite: SuiteConfig, weights: Path | str = "") -> Backbone:
    """Return the model of ``suite``, or the one in the folder ``weights``, without adapters."""
    name, settings = suite.backbone_weights()
    return BACKBONES.get(suite.backbone.family).load(Path(weights or name), **settings)


def predict(backbone: Backbone) -> Tensor:
    """Return predictions at a noisy and a less noisy timestep, of two prompts."""
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(2, *backbone.latent_shape, generator=generator)
    timesteps = backbone.schedule.timesteps(4)[[0, 3]]
    encoded = torch.randn(2, *backbone.text_shape, generator=generator)
    with torch.no_grad():
        return backbone.denoise(latents, timesteps, encoded)


def maker(tokenizer: Path, factory: pytest.TempPathFactory) -> Make:
    """Return what makes a suite on the tiny model of a case, adapters, and what the model predicts."""

    def made(name: str) -> Made:
        case, folder = CASES[name], factory.mktemp("model") / "model"
        case.write(folder, tokenizer)
        settings = case.settings | {"weights": str(folder)}
        if "pictures" in settings:
            settings["pictures"] = "pocket"
        data: dict[str, Any] = {
            "suite": "tiny",
            "backbone": {"family": name.partition("/")[0], "settings": settings},
            "rewards": {"red": {"family": "redness"}},
            "prompts": {"default": "pocket"},
            "sampler": {"steps": 2, "eta": 1.0, "guidance": 1.0},
        }
        suite = SuiteConfig.model_validate(data)
        backbone = load(suite)
        lora = Lora(backbone.denoiser, backbone.lora_targets, 2, torch.Generator().manual_seed(1))
        with torch.no_grad():
            for weight in lora.parameters():
                weight.normal_(std=0.3, generator=torch.Generator().manual_seed(2))
        return Made(suite, AdapterFile(lora.state(), 2, backbone.lora_targets), predict(backbone))

    return made
