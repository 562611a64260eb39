"""Small configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vader_bench.config.schema import RunConfig
from vader_bench.config.settings import Settings

__all__ = ["PROMPTS", "AnySettings", "run_config", "tiny_run"]

PROMPTS = str(Path(__file__).parent / "prompts")
"""A set of prompts that are short enough for the tiny model's tokenizer of single bytes."""


class AnySettings(Settings, extra="allow"):
    """Settings of no method, for what does not look at them and needs no torch."""


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
    fields |= changes
    if isinstance(fields["settings"], dict):
        fields["settings"] = AnySettings(**fields["settings"])
    return RunConfig.model_validate(fields)


def tiny_run(pipeline: Path, **changes: Any) -> RunConfig:
    """Return a run on the tiny random model in the folder ``pipeline``, with ``changes``.

    Settings are added to small ones: two videos a step, rank 2, a learning rate that shows.
    """
    from vader_bench.methods import METHODS  # late: it imports torch

    run = run_config().model_dump()
    run["suite"]["backbone"]["settings"]["weights"] = str(pipeline)
    settings, method = run["settings"] | changes.pop("settings", {}), changes.get("method", run["method"])
    if method == "base":
        run |= {"reward_queries": 0, "settings": Settings()}
    else:
        run["settings"] = METHODS.get(method).Config(**settings)
    return RunConfig.model_validate(run | changes)
