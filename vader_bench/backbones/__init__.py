"""Backbones by family; importing this package registers them."""

from __future__ import annotations

from vader_bench.backbones import modelscope, open_sora, videocrafter2
from vader_bench.backbones.base import BACKBONES, Backbone, BackboneFactory

__all__ = ["BACKBONES", "Backbone", "BackboneFactory", "modelscope", "open_sora", "videocrafter2"]
