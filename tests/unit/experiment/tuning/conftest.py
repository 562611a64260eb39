"""A small tuning, and runs of it that are done without any model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.configs import run_config
from vader_bench.config.schema import RunConfig, SuiteConfig, config_digest
from vader_bench.experiment.job import Job
from vader_bench.experiment.tuning.config import TuneConfig, load_tune
from vader_bench.records.folder import RunFolder
from vader_bench.records.record import Evaluation, Record, VideoScore

Curve = Callable[[RunConfig, int], float]
"""The mean held-out reward of a run after so many queries; 1 before training."""
Do = Callable[[str, Sequence[Job]], None]


@pytest.fixture
def suite() -> SuiteConfig:
    return run_config().suite


@pytest.fixture
def tune_data() -> dict[str, Any]:
    """Four settings of two methods, of which two go on to twice the budget and two seeds."""
    return {
        "experiment": "tune",
        "question": "Which setting?",
        "suite": "tiny",
        "rewards": ["red"],
        "seed": 1000,
        "rungs": [{"reward_queries": 8, "keep": 2}, {"reward_queries": 16, "seeds": 2}],
        "evaluation": {
            "every": 8,
            "prompts": 2,
            "splits": ["heldout"],
            "final_splits": ["train", "heldout"],
            "final_prompts": 3,
        },
        "methods": {
            "vader": {"settings": {"batch_size": 4}, "grid": {"k": [1, 2], "learning_rate": [0.1, 0.01]}},
            "ddpo": {
                "settings": {"prompts_per_round": 2},
                "grid": {"clip_range": [0.1, 0.2], "learning_rate": [0.1, 0.01]},
            },
        },
    }


@pytest.fixture
def load(tmp_path: Path) -> Callable[[dict[str, Any]], TuneConfig]:
    """Return what reads a tuning file with given data."""

    def read(data: dict[str, Any]) -> TuneConfig:
        path = tmp_path / "tune.yaml"
        path.write_text(yaml.safe_dump(data, sort_keys=False), "utf-8")
        return load_tune(path)

    return read


@pytest.fixture
def config(load: Callable[[dict[str, Any]], TuneConfig], tune_data: dict[str, Any]) -> TuneConfig:
    return load(tune_data)


def finish(job: Job, curve: Curve, digests: dict[str, str]) -> None:
    """Make the record of a run whose held-out reward goes along ``curve``, over two prompts.

    Its truth falls by a tenth of what the reward rises by, and videos show half of the prompt.
    """
    config = job.config

    def look(split: str, queries: int) -> Evaluation:
        mean = curve(config, queries) if queries else 1.0
        scores = [
            VideoScore(
                prompt=f"p{i}", sample=0, reward=mean + by, gold=(1.0 - mean) / 10 - by, prompt_share=0.5
            )
            for i, by in enumerate((-1, 1))
        ]
        return Evaluation(split=split, queries=queries, flops=0, device_seconds=0, scores=scores)

    every, budget = config.evaluation.every, config.reward_queries
    evaluations = [look("heldout", queries) for queries in range(0, budget + 1, every)]
    with RunFolder(job.folder).open(config) as run:
        run.write_record(
            Record(
                experiment="tune",
                suite="tiny",
                method=config.method,
                reward=config.reward,
                seed=config.seed,
                config=config.model_dump(mode="json"),
                config_digest=config_digest(config),
                ledger={"reward_queries": budget, "device_seconds": 1.5, "flops": 0},
                evaluations=evaluations,
                digests=digests,
                packages={},
                machine={},
                git={},
            )
        )


@pytest.fixture
def doing() -> Callable[..., tuple[Do, list[tuple[str, list[str]]]]]:
    """Return what makes a stand-in for the workers, and a list of all that it was asked to do.

    What is finished already is not done again, as workers leave it alone.
    """

    def make(curve: Curve, **digests: str) -> tuple[Do, list[tuple[str, list[str]]]]:
        asked: list[tuple[str, list[str]]] = []

        def do(what: str, jobs: Sequence[Job]) -> None:
            left = [job for job in jobs if not RunFolder(job.folder).finished]
            asked.append((what, [job.name for job in left]))
            for job in left:
                finish(job, curve, {"code": job.name, **digests})

        return do, asked

    return make
