"""A small suite and experiment as files, and stand-ins for the registered names they use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

from vader_bench.config.schema import RunConfig
from vader_bench.config.settings import Settings
from vader_bench.experiment import load, registered


class _Settings(Settings):
    learning_rate: float = Field(gt=0)
    lora_rank: int = 16


class _Vader(_Settings):
    k: int = Field(default=1, ge=1)


class _DDPO(_Settings):
    betas: tuple[float, float] = (0.9, 0.999)


@pytest.fixture
def known_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know two methods, one backbone and one reward family, whatever is registered."""
    methods: dict[str, type[Settings]] = {"vader": _Vader, "ddpo": _DDPO}
    monkeypatch.setattr(registered, "method_configs", lambda: methods)
    monkeypatch.setattr(registered, "backbone_families", lambda: ["modelscope"])
    monkeypatch.setattr(registered, "reward_families", lambda: ["clip"])


@pytest.fixture
def suite_data() -> dict[str, Any]:
    """The fields of a suite with two rewards."""
    return {
        "suite": "small",
        "backbone": {"family": "modelscope", "settings": {"frames": 8}},
        "rewards": {"aesthetic": {"family": "clip"}, "action": {"family": "clip"}},
        "prompts": {"default": "pocket", "action": "pocket-looks"},
        "sampler": {"steps": 10, "eta": 1.0, "guidance": 1.0},
    }


@pytest.fixture
def experiment_data() -> dict[str, Any]:
    """The fields of an experiment on that suite: 2 rewards x 2 methods x 2 seeds."""
    return {
        "experiment": "fig",
        "question": "Which?",
        "suite": "small",
        "rewards": ["aesthetic", "action"],
        "methods": {
            "vader": {"learning_rate": 0.001, "by_reward": {"action": {"k": 2}}},
            "ddpo": {"learning_rate": 0.0003},
        },
        "seeds": [0, 1],
        "budget": {"reward_queries": 128},
        "evaluation": {
            "every": 64,
            "prompts": 8,
            "splits": ["train", "heldout"],
            "final_splits": ["train", "heldout", "composition", "noun"],
            "final_prompts": 16,
        },
        "quick": {"seeds": [0], "budget": {"reward_queries": 64}},
    }


@pytest.fixture
def write_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suite_data: dict[str, Any],
    experiment_data: dict[str, Any],
) -> Callable[[], Path]:
    """Write both as they are now, the suite as a packaged one, and return the experiment's path."""

    def write() -> Path:
        suites = tmp_path / "suites"
        suites.mkdir(exist_ok=True)
        monkeypatch.setattr(load, "SUITES_FOLDER", suites)
        (suites / "small.yaml").write_text(yaml.safe_dump(suite_data), "utf-8")
        path = tmp_path / "fig.yaml"
        path.write_text(yaml.safe_dump(experiment_data, sort_keys=False), "utf-8")
        return path

    return write


@pytest.fixture
def run_config(suite_data: dict[str, Any], experiment_data: dict[str, Any]) -> RunConfig:
    """One run of that experiment."""
    return RunConfig.model_validate(
        {
            "experiment": "fig",
            "suite": suite_data,
            "method": "vader",
            "settings": _Vader(learning_rate=0.001, lora_rank=16, k=1),
            "reward": "aesthetic",
            "prompts": "pocket",
            "seed": 0,
            "reward_queries": 128,
            "evaluation": experiment_data["evaluation"],
        }
    )
