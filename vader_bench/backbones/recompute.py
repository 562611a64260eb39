"""Activations computed again in the backward pass, for networks whose own switch leaves layers out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

__all__ = ["recompute"]


def recompute(layer: nn.Module) -> None:
    """Make ``layer``, changed in place, keep only its inputs for the backward pass; no number changes.

    Args:
        layer: draws no random numbers; what it is called with must not be changed afterwards.
    """
    layer.forward = partial(_recomputed, layer.forward)


def _recomputed(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)
