"""What runs on the tiny model share."""

from __future__ import annotations

from collections.abc import Hashable

import pytest

from vader_bench.budget import metering

_COUNTED: dict[str, dict[Hashable, tuple[int, int]]] = {}


@pytest.fixture(autouse=True)
def _counted_once(_nothing_counted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let these runs look up FLOPs as those of one worker do: a run counts for a third of its time."""
    monkeypatch.setattr(metering, "_COUNTED", _COUNTED)
