"""A checkpoint that is none is told, and nothing in it is run."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
import torch

from tests.support.fuzz_damage import pickled
from vader_bench.errors import UserError
from vader_bench.training.checkpoint import read_state

STATE = {"ledger": {}, "prompts": {"position": 1}, "points": [], "method": {"a": torch.ones(2)}}


def saved(state: object) -> bytes:
    stream = BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def test_a_state_is_read() -> None:
    assert read_state(saved(STATE), "checkpoint of a")["prompts"] == {"position": 1}


@pytest.mark.parametrize("state", [[], {}, 3, STATE | {"more": 1}, STATE | {"points": 1}])
def test_another_form_is_refused(state: object) -> None:
    with pytest.raises(UserError, match="checkpoint of a: is not the state of a training"):
        read_state(saved(state), "checkpoint of a")


def test_what_would_run_is_refused(tmp_path: Path) -> None:
    for payload in (pickled(tmp_path / "made"), b"", b"\x80\x04\x95", b"J", saved(STATE)[:100]):
        with pytest.raises(UserError, match="cannot be read as the state of a training"):
            read_state(payload, "checkpoint of a")
    assert not (tmp_path / "made").exists()
