"""Golden vectors: what the original implementations computed; the large ones lie outside the repository."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

SMALL = Path(__file__).parents[1] / "golden" / "vectors"
LARGE = Path(os.environ.get("VADER_BENCH_GOLDEN") or Path(__file__).parents[3] / "shared" / "golden")


class Golden(NamedTuple):
    """One case."""

    config: dict[str, Any]
    tolerance: dict[str, Any]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def check(self, key: str, value: Tensor) -> None:
        """Compare ``value`` with the output called ``key``, within the tolerance stated for it."""
        limits = self.tolerance.get("per_tensor", {}).get(f"outputs/{key}", self.tolerance)
        expected = self.outputs[key]
        actual = value.detach().to(expected.dtype).reshape(expected.shape)
        torch.testing.assert_close(actual, expected, atol=limits["atol"], rtol=limits["rtol"])


def golden(name: str) -> Golden:
    """Return the case called ``name``; skip the test where its vectors are not available."""
    small = {case["name"]: case for case in _cases(SMALL)}
    folder, case = SMALL, small.get(name)
    if case is None:
        if not LARGE.is_dir():
            pytest.skip(f"no golden vectors at {LARGE}; VADER_BENCH_GOLDEN says where they are")
        folder, case = LARGE, {case["name"]: case for case in _cases(LARGE)}[name]
    tensors = load_file(folder / case["file"])
    inputs, outputs = (
        {key.removeprefix(part): value for key, value in tensors.items() if key.startswith(part)}
        for part in ("inputs/", "outputs/")
    )
    return Golden(case["config"], case["tolerance"], inputs, outputs)


def _cases(folder: Path) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((folder / "index.json").read_text("utf-8"))["cases"]
    return cases
