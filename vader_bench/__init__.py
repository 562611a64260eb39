"""A benchmark of ways to align video diffusion models with a reward, at equal budget.

``import vader_bench as vb`` offers what a notebook needs, each imported when it is first used: suites,
experiments and prompts to load, models to sample, rewards to score with, runs to make, results to read.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

__all__ = ["INTERFACE", "__version__"]

try:
    __version__ = version("vader-bench")
except PackageNotFoundError:  # a checkout on the path that was never installed
    __version__ = "0+unknown"

INTERFACE = {
    "load_backbone": "interface.models",
    "load_experiment": "experiment.load",
    "load_model": "interface.models",
    "load_prompts": "prompts.sets",
    "load_reward": "interface.models",
    "load_suite": "experiment.load",
    "read_results": "interface.results",
    "run_arm": "interface.runs",
    "score": "interface.videos",
    "write_videos": "interface.videos",
}
"""The names that the package offers beside its version, and the modules that they are imported from."""


def __getattr__(name: str) -> object:
    """Return what ``INTERFACE`` has under ``name``."""
    if name not in INTERFACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{INTERFACE[name]}"), name)


def __dir__() -> list[str]:
    """Return all names, for completion in notebooks."""
    return sorted({*globals(), *INTERFACE})
