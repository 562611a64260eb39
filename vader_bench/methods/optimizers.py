"""The optimisers that every method can have, by the name a suite's table ``memory`` gives."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vader_bench.errors import ExitCode, UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["make_optimizer", "require_optimizer"]

_GIVEN = "memory.optimizer = adamw8bit"


def make_optimizer(
    name: str, weights: Sequence[nn.Parameter], learning_rate: float, device: str
) -> torch.optim.Optimizer:
    """Return AdamW for ``weights``: betas 0.9 and 0.999, no weight decay.

    With ``adamw8bit`` (Dettmers et al. 2022, arXiv:2110.02861) the moments of every weight of 4096 elements
    or more are kept in 8 bits.

    Args:
        name: ``adamw`` or ``adamw8bit``.
        weights: what is trained.
        learning_rate: step size.
        device: where the weights are.

    Raises:
        UserError: see ``require_optimizer``; or 8 bits are wanted on the CPU.
    """
    require_optimizer(name)
    settings: dict[str, Any] = {"lr": learning_rate, "betas": (0.9, 0.999), "weight_decay": 0.0}
    if name == "adamw":
        import torch  # late: a plan is checked without it

        return torch.optim.AdamW(weights, **settings)
    if device == "cpu":
        raise UserError(_GIVEN, "needs a GPU", "set memory.optimizer to adamw on the CPU")
    optimizer: torch.optim.Optimizer = import_module("bitsandbytes").optim.AdamW8bit(weights, **settings)
    return optimizer


def require_optimizer(name: str) -> None:
    """Refuse an optimiser whose package is not installed.

    Raises:
        UserError: it is missing.
    """
    if name == "adamw8bit" and find_spec("bitsandbytes") is None:
        remedy = "pip install 'vader-bench[bitsandbytes]', or set memory.optimizer to adamw"
        raise UserError(_GIVEN, "needs bitsandbytes", remedy, exit_code=ExitCode.MISSING)
