"""Activations computed again in the backward pass, for networks whose own switch leaves layers out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

__all__ = ["recompute", "recomputed"]


def recompute(layer: nn.Module) -> None:
    """Make ``layer``, changed in place, keep only its inputs for the backward pass; no number changes.

    Args:
        layer: draws no random numbers; what it is called with must not be changed afterwards.
    """
    layer.forward = partial(recomputed, layer.forward)


def recomputed(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what ``call`` does; its activations are not kept for the backward pass but made again there.

    Args:
        call: draws no random numbers.
        args: kept meanwhile; must not be changed.
        kwargs: the same.
    """
    if not torch.is_grad_enabled():
        return call(*args, **kwargs)
    return checkpoint(call, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)
