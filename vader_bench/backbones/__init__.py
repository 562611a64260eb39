"""Backbones by family; importing this package registers them."""

from __future__ import annotations

from vader_bench.backbones import modelscope, svd, videocrafter2
from vader_bench.backbones.base import BACKBONES, Backbone, BackboneFactory, ImageBackbone

__all__ = ["BACKBONES", "Backbone", "BackboneFactory", "ImageBackbone", "modelscope", "svd", "videocrafter2"]
