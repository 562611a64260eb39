"""Backbones by family; importing this package registers them."""

from __future__ import annotations

from vader_bench.backbones import ltx, modelscope, open_sora, svd, videocrafter2, wan
from vader_bench.backbones.base import BACKBONES, Backbone, BackboneFactory, ImageBackbone

__all__ = [
    "BACKBONES", "Backbone", "BackboneFactory", "ImageBackbone", "ltx", "modelscope", "open_sora", "svd",
    "videocrafter2", "wan",
]  # fmt: skip
