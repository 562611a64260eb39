"""A small pool of drawn clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vader_bench.pocket.world import render
from vader_bench.pretrain.clips import captions, draw_clips
from vader_bench.pretrain.pool import Part, Pool, as_bytes, keep_part, known_part


@pytest.fixture(scope="session")
def drawn_part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    """Return twelve drawn clips, kept as a part is."""
    folder, clips = tmp_path_factory.mktemp("pool"), draw_clips("train", 12)
    frames = np.stack([as_bytes(render(clip)) for clip in clips])
    keep_part(folder, "drawn", frames, captions(clips))
    part = known_part(folder, "drawn")
    assert part is not None
    return part


@pytest.fixture(scope="session")
def drawn_pool(drawn_part: Part) -> Pool:
    """Return the pool that has that part alone."""
    return Pool({"drawn": [drawn_part]})


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Return folders for work and for weights."""
    return tmp_path / "work", tmp_path / "out"
