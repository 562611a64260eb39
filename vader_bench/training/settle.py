"""How torch computes in every run and sample: the same numbers every time."""

from __future__ import annotations

import os

import torch

__all__ = ["settle_torch"]


def settle_torch(device: str) -> None:
    """Make torch give the same numbers every time; on the CPU a run has one thread, to share it fairly."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the GPU is first used
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    # it shows reads before writes, takes a tenth of a step and changes no number
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # made at import
    torch.backends.cudnn.allow_tf32 = False
    if device == "cpu":
        torch.set_num_threads(1)
    else:
        torch.cuda.set_device(device)  # what asks for no device in particular takes this one
