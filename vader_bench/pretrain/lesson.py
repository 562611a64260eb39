"""What a learned reward is given to learn from, in each of its rounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vader_bench.pretrain.pool import Pool

__all__ = ["Lesson"]


@dataclass(frozen=True)
class Lesson:
    """One round of one reward."""

    stage: str
    """Name of its checkpoint and of its streams."""
    begin: Path | None
    """Folder of the round before; ``None`` in the first, where a reward begins as its own file says."""
    target: Path
    """Folder that the reward is written to."""
    clip: Path
    """Folder of the CLIP that several rewards begin as."""
    work: Path
    """Folder of data and checkpoints."""
    pool: Pool
    steps: int
