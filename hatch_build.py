"""Puts into the wheel what stands beside the package: the experiments, and the result of tuning."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TUNING = "results/reference/tune/pocket/choice.yaml"
"""Experiments name it relative to themselves, so it stands at the same place beside them."""


class Experiments(BuildHookInterface[Any]):
    """Adds them to a wheel that is installed; an editable one finds them in the repository."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files that are added."""
        if version != "editable":
            build_data["force_include"].update(
                {"experiments": "vader_bench/experiments", TUNING: f"vader_bench/{TUNING}"}
            )
