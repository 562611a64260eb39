"""Parameters that are fetched, each once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.configs import tiny_run
from tests.support.networks import made_once
from vader_bench.config.schema import ComponentConfig, RunConfig
from vader_bench.cost import whatif
from vader_bench.cost.disk import parameters
from vader_bench.cost.whatif import Changes, plan_arms


@pytest.fixture(autouse=True)
def _networks_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whatif, "Skeletons", made_once)


def arm(run: RunConfig, name: str, rank: int = 2, **memory: Any) -> RunConfig:
    run = Changes(memory=memory).of(run)
    settings = run.settings.model_copy(update={"lora_rank": rank})
    return run.model_copy(update={"arm": name, "settings": settings})


def count(*runs: RunConfig) -> int:
    return parameters(plan_arms(runs, Changes()))


def test_arms_with_other_switches_and_ranks_have_the_same_weights(tiny_pipeline: Path) -> None:
    run = tiny_run(tiny_pipeline)
    plain = count(arm(run, "plain"))
    others = arm(run, "bfloat16", frozen_weights="bfloat16"), arm(run, "rank 4", 4)
    assert [count(other) for other in others] == [plain, plain] != [0, 0]
    assert count(arm(run, "plain"), *others) == plain


def test_a_judge_is_fetched_once_whatever_it_is_used_for(tiny_pipeline: Path, tiny_clip: Path) -> None:
    head = tiny_clip / "head.safetensors"
    run = tiny_run(tiny_pipeline)
    tables: dict[str, Any] = {"clip": str(tiny_clip), "head": str(head)}
    rewards = {
        "red": run.suite.rewards["red"],
        "aesthetic": ComponentConfig(family="aesthetic", settings=tables),
        "mixed": ComponentConfig(
            family="mix",
            settings={
                "parts": {"aesthetic": tables, "redness": None},
                "weights": {"aesthetic": 1.0, "redness": 1.0},
            },
        ),
    }
    suite = run.suite.model_copy(update={"rewards": rewards, "gold": {}})

    def on(reward: str, judges: list[str]) -> RunConfig:
        measure = run.evaluation.measure.model_copy(update={"judges": judges})
        evaluation = run.evaluation.model_copy(update={"measure": measure})
        return run.model_copy(update={"suite": suite, "reward": reward, "evaluation": evaluation})

    plain, judged = count(on("red", [])), count(on("red", ["aesthetic"]))
    assert 0 < plain < judged
    assert count(on("aesthetic", []), on("mixed", ["red", "aesthetic"])) == judged
