"""Named random streams from one root seed.

Every draw in the project comes from a generator made here, so that a stream's numbers depend on its
name and the root seed alone, never on what was drawn elsewhere.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["numpy_stream", "stream_seed", "torch_stream"]


def stream_seed(root: int, *names: str | int) -> int:
    """Return the seed (63 bits) of the stream called ``names`` under ``root``."""
    text = "/".join([str(root), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_stream(root: int, *names: str | int) -> np.random.Generator:
    """Return a NumPy generator for the stream called ``names``."""
    return np.random.default_rng(stream_seed(root, *names))


def torch_stream(root: int, *names: str | int) -> torch.Generator:
    """Return a CPU torch generator for the stream called ``names``.

    Noise is drawn on the CPU and moved, so that a GPU run starts from the same noise as a CPU run.
    """
    import torch  # statistics and reports use this module without torch

    return torch.Generator("cpu").manual_seed(stream_seed(root, *names))
