"""Small configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vader_bench.config.schema import RunConfig

__all__ = ["PROMPTS", "run_config", "tiny_run"]

PROMPTS = str(Path(__file__).parent / "prompts")
"""A set of prompts that are short enough for the tiny model's tokenizer of single bytes."""


def run_config(**changes: Any) -> RunConfig:
    """Return a run on a suite with a closed-form reward, with ``changes`` to its top-level fields."""
    fields: dict[str, Any] = {
        "experiment": "small",
        "suite": {
            "suite": "tiny",
            "backbone": {"family": "modelscope", "settings": {"weights": "nowhere/tiny", "frames": 4}},
            "rewards": {"red": {"family": "redness"}},
            "gold": {"family": "brightness"},
            "prompts": {"default": PROMPTS},
            "sampler": {"steps": 2, "eta": 1.0, "guidance": 1.0},
        },
        "method": "vader",
        "settings": {"learning_rate": 0.01, "batch_size": 2, "lora_rank": 2},
        "reward": "red",
        "prompts": PROMPTS,
        "seed": 1,
        "reward_queries": 8,
        "evaluation": {
            "every": 4,
            "prompts": 2,
            "splits": ["heldout"],
            "final_splits": ["train", "heldout"],
            "final_prompts": 3,
            "samples": 2,
            "best_of": [1, 2],
        },
    }
    return RunConfig.model_validate(fields | changes)


def tiny_run(pipeline: Path, **changes: Any) -> RunConfig:
    """Return a run on the tiny random model in the folder ``pipeline``, with ``changes``.

    Settings are added to small ones: two videos a step, rank 2, a learning rate that shows.
    """
    run = run_config().model_dump()
    run["suite"]["backbone"]["settings"]["weights"] = str(pipeline)
    run["settings"] = {} if changes.get("method") == "base" else run["settings"] | changes.pop("settings", {})
    if changes.get("method") == "base":
        run["reward_queries"] = 0
        changes.pop("settings", None)
    return RunConfig.model_validate(run | changes)
