"""What runs on the tiny model share."""

from __future__ import annotations

from collections.abc import Hashable

import pytest

from vader_bench.budget import metering
from vader_bench.evaluation.evaluator import EvaluationResult, Evaluator

_COUNTED: dict[str, dict[Hashable, tuple[int, int]]] = {}


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many prompts each look since judged."""
    counts: list[int] = []
    look = Evaluator.look

    def counted(self: Evaluator, prompts: list[str], samples: int) -> EvaluationResult:
        counts.append(len(prompts))
        return look(self, prompts, samples)

    monkeypatch.setattr(Evaluator, "look", counted)
    return counts


@pytest.fixture(autouse=True)
def _counted_once(_nothing_counted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let these runs look up FLOPs as those of one worker do: a run counts for a third of its time."""
    monkeypatch.setattr(metering, "_COUNTED", _COUNTED)
