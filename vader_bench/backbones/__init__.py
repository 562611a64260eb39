"""Backbones by family; importing this package registers them."""

from __future__ import annotations

from vader_bench.backbones import ltx, modelscope, videocrafter2, wan
from vader_bench.backbones.base import BACKBONES, Backbone, BackboneFactory

__all__ = ["BACKBONES", "Backbone", "BackboneFactory", "ltx", "modelscope", "videocrafter2", "wan"]
