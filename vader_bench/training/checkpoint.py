"""What a training can be continued from, read without running anything in it."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from vader_bench.errors import UserError
from vader_bench.weights.tensors import UNREADABLE, load_pickle

__all__ = ["read_state"]

_PARTS = {"ledger", "prompts", "points", "method"}


def read_state(payload: bytes, source: str) -> dict[str, Any]:
    """Return the state of a training in ``payload``, as ``source`` holds it.

    Raises:
        UserError: it is something else.
    """
    remedy = "delete the run's folder to run it again"
    try:
        state = load_pickle(BytesIO(payload))
    except UNREADABLE as error:
        raise UserError(source, "cannot be read as the state of a training", remedy) from error
    if not isinstance(state, dict) or state.keys() != _PARTS or not isinstance(state["points"], list):
        raise UserError(source, "is not the state of a training", remedy)
    return state
