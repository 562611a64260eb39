"""Methods by name; importing this package registers them."""

from __future__ import annotations

from vader_bench.methods import ddpo, diffusion_dpo, vader
from vader_bench.methods.base import METHODS, Method, MethodConfig, Workbench

__all__ = ["METHODS", "Method", "MethodConfig", "Workbench", "ddpo", "diffusion_dpo", "vader"]
