"""Methods: a file each, and the table of their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vader_bench.registry import Registry, late_names

if TYPE_CHECKING:
    from vader_bench.methods.base import Method, MethodConfig, Workbench

__all__ = ["METHODS", "Method", "MethodConfig", "Workbench"]


def _refusal(found: object) -> str:
    """Return what keeps ``found`` from being a method."""
    from vader_bench.methods.base import Method, MethodConfig

    if not (isinstance(found, type) and issubclass(found, Method)):
        return "is no subclass of vader_bench.methods.Method"
    config = getattr(found, "Config", None)
    if not (isinstance(config, type) and issubclass(config, MethodConfig)):
        return "has no `Config` that is a subclass of vader_bench.methods.MethodConfig"
    return ""


METHODS: Registry[type[Method]] = Registry(
    "method",
    {
        "ddpo": "vader_bench.methods.ddpo:Ddpo",
        "diffusion-dpo": "vader_bench.methods.diffusion_dpo:DiffusionDpo",
        "grpo": "vader_bench.methods.grpo:Grpo",
        "nft": "vader_bench.methods.nft:Nft",
        "raft": "vader_bench.methods.raft:Raft",
        "refl": "vader_bench.methods.refl:Refl",
        "vader": "vader_bench.methods.vader:Vader",
    },
    group="vader_bench.methods",
    refusal=_refusal,
)
"""Methods by the name that experiment files use."""

__getattr__ = late_names(__name__, __all__)
