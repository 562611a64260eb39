"""A benchmark of ways to align video diffusion models with a reward, at equal budget."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("vader-bench")
except PackageNotFoundError:  # a checkout on the path that was never installed
    __version__ = "0+unknown"
