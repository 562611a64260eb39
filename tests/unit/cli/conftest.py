"""A small experiment on the tiny model as files, and the command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.commands import Command
from tests.support.configs import run_config

ROOT = Path(__file__).parents[3]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "PYTHONWARNINGS": "ignore",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "COLUMNS": "100",
}
COMMAND = [sys.executable, "-m", "vader_bench"]


def experiment_data() -> dict[str, Any]:
    """Return the fields of an experiment: 1 reward x 2 methods x 2 seeds and the base model."""
    return {
        "experiment": "small",
        "question": "Which method raises redness most?",
        "suite": "tiny.yaml",
        "rewards": ["red"],
        "methods": {
            "vader": {"learning_rate": 0.01, "batch_size": 2, "lora_rank": 2},
            "diffusion-dpo": {"learning_rate": 0.01, "batch_size": 2, "lora_rank": 2},
        },
        "seeds": [1, 2],
        "budget": {"reward_queries": 8},
        "evaluation": run_config().evaluation.model_dump(),
        "quick": {"seeds": [1], "budget": {"reward_queries": 4}},
    }


def write_yaml(path: Path, data: dict[str, Any]) -> Path:
    """Write ``data`` to ``path`` and return ``path``."""
    path.write_text(yaml.safe_dump(data, sort_keys=False), "utf-8")
    return path


def write_project(folder: Path, pipeline: Path) -> Path:
    """Write suite and experiment to ``folder`` and return the experiment's path."""
    suite = run_config().suite.model_dump(mode="json")
    suite["backbone"]["settings"]["weights"] = str(pipeline)
    write_yaml(folder / "tiny.yaml", suite)
    return write_yaml(folder / "small.yaml", experiment_data())


@pytest.fixture
def experiment(tmp_path: Path, tiny_pipeline: Path) -> Path:
    """The experiment's file."""
    return write_project(tmp_path, tiny_pipeline)


def call(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Call the command line in a process of its own, in the folder ``cwd``."""
    return Command([*map(str, arguments)], cwd, ENVIRONMENT).done()


def call_in_an_interpreter(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Call it in a new interpreter, as users do."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path) -> tuple[Path, str]:
    """The folder in which the experiment was run through the command line, and what that printed."""
    folder = tmp_path_factory.mktemp("finished")
    done = call_in_an_interpreter("run", write_project(folder, tiny_pipeline), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout + done.stderr
