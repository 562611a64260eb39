"""Backbones: a file each family, and the table of their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vader_bench.registry import Registry, late_names

if TYPE_CHECKING:
    from vader_bench.backbones.base import Backbone, BackboneFactory, ImageBackbone

__all__ = ["BACKBONES", "Backbone", "BackboneFactory", "ImageBackbone"]


def _refusal(found: object) -> str:
    """Return what keeps ``found`` from being a family of backbones."""
    from vader_bench.backbones.base import BackboneFactory

    fits = isinstance(found, type) and issubclass(found, BackboneFactory)
    return "" if fits else "is no subclass of vader_bench.backbones.BackboneFactory"


BACKBONES: Registry[BackboneFactory] = Registry(
    "backbone",
    {
        "ltx": "vader_bench.backbones.ltx:LtxFactory",
        "modelscope": "vader_bench.backbones.modelscope:ModelScopeFactory",
        "open-sora-1.2": "vader_bench.backbones.open_sora:OpenSoraFactory",
        "svd": "vader_bench.backbones.svd:SvdFactory",
        "videocrafter2": "vader_bench.backbones.videocrafter2:VideoCrafter2Factory",
        "wan": "vader_bench.backbones.wan:WanFactory",
        "wan-i2v": "vader_bench.backbones.wan_image:WanImageFactory",
    },
    group="vader_bench.backbones",
    refusal=_refusal,
    instances=True,
)
"""Families of backbones by the name that suite files use."""

__getattr__ = late_names(__name__, __all__)
