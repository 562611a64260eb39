"""The look at the untrained model that runs share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.configs import run_config
from vader_bench.config.schema import RunConfig
from vader_bench.evaluation.evaluator import EvaluationResult
from vader_bench.evaluation.first_look import FirstLooks
from vader_bench.evaluation.looks import Look
from vader_bench.records.record import VideoScore

LOOK = Look(0, "heldout", 2, 1)
RESULT = EvaluationResult([VideoScore(prompt="a red cat", sample=0, reward=0.1 + 0.2, gold=None)], 0.25, 0.01)
DIGESTS = {"prompts/heldout": "abc"}


def never() -> EvaluationResult:
    raise AssertionError("taken again")


def kept(folder: Path, config: RunConfig | None = None, **changes: Any) -> FirstLooks:
    values: dict[str, Any] = {"config": config or run_config(), "digests": DIGESTS, "device": "cpu"} | changes
    return FirstLooks(folder, **values)


def test_what_was_taken_is_found_again_to_the_last_bit(tmp_path: Path) -> None:
    assert kept(tmp_path).get(LOOK, lambda: RESULT) == RESULT
    assert kept(tmp_path).get(LOOK, never) == RESULT


def test_method_settings_seed_and_budget_do_not_matter(tmp_path: Path) -> None:
    kept(tmp_path).get(LOOK, lambda: RESULT)
    other = run_config(method="ddpo", settings={"clip_range": 0.1}, seed=9, reward_queries=16)
    assert kept(tmp_path, other).get(LOOK, never) == RESULT


@pytest.mark.parametrize(
    "changes",
    [
        {"digests": {"prompts/heldout": "abd"}},
        {"device": "cuda:0"},
        {"config": run_config(suite=run_config().suite.model_dump() | {"decode_frames": 1})},
        {"config": run_config(reward="other")},
    ],
)
def test_another_model_prompt_or_reward_is_looked_at_anew(changes: dict[str, Any], tmp_path: Path) -> None:
    kept(tmp_path).get(LOOK, lambda: RESULT)
    with pytest.raises(AssertionError, match="taken again"):
        kept(tmp_path, **changes).get(LOOK, never)


@pytest.mark.parametrize("look", [Look(0, "noun", 2, 1), Look(0, "heldout", 3, 1), Look(0, "heldout", 2, 2)])
def test_another_look_is_taken(look: Look, tmp_path: Path) -> None:
    kept(tmp_path).get(LOOK, lambda: RESULT)
    with pytest.raises(AssertionError, match="taken again"):
        kept(tmp_path).get(look, never)
