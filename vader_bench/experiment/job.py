"""One run and where it is put: what a worker is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vader_bench.config.schema import RunConfig

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """One run and the folder that holds it."""

    config: RunConfig
    folder: Path

    @property
    def name(self) -> str:
        """Return what the run is called: the name of its folder."""
        return self.folder.name

    @property
    def kind(self) -> tuple[str, str]:
        """Return what runs of about the same length share."""
        return self.config.label, self.config.reward
