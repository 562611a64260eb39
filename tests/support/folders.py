"""Run folders as a run leaves them, without the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.configs import run_config
from vader_bench.config.schema import config_digest
from vader_bench.records.folder import RunFolder
from vader_bench.records.provenance import machine
from vader_bench.records.record import Evaluation, Record, VideoScore

__all__ = ["all_lines", "evaluation_line", "finish_run", "start_run", "step_line"]

_LEDGER = {
    "gradient_queries": 0,
    "frames_scored": 8,
    "denoiser_forwards": 80,
    "denoiser_backwards": 8,
    "vae_decodes": 16,
    "flops": 1000,
}


def step_line(queries: int, seconds: float) -> dict[str, Any]:
    """Return the metrics line of a step after ``queries`` queries and ``seconds`` of device time."""
    spent = {"queries": queries, "device_seconds": seconds, **_LEDGER}
    return {"kind": "step", **spent, "metrics": {"reward": queries / 10, "loss": -queries / 10}}


def evaluation_line(queries: int, seconds: float, split: str = "heldout") -> dict[str, Any]:
    """Return the metrics line of a look at ``split``."""
    spent = {"queries": queries, "device_seconds": seconds, **_LEDGER}
    means = {
        "reward_mean": queries / 4,
        "curve_mean": queries / 2,
        "gold_mean": 0.5,
        "prompt_share_mean": 0.75,
    }
    return {"kind": "evaluation", "split": split, **spent, **means}


def start_run(results: Path, method: str = "vader", seed: int = 1, lines: int = 3) -> Path:
    """Make a run's folder under ``results/small/tiny`` with its first ``lines`` metrics."""
    config = run_config(method=method, seed=seed)
    folder = results / "small" / "tiny" / "runs" / config.name
    with RunFolder(folder).open(config) as run:
        for line in all_lines()[:lines]:
            run.append_metrics(line)
    return folder


def finish_run(folder: Path) -> None:
    """Write the rest of the metrics, a sample and the record."""
    name = folder.name
    config = run_config(method=name.split("-")[0], seed=int(name.rpartition("seed")[2]))
    with RunFolder(folder).open(config) as run:
        for line in all_lines()[len(run.metrics()) :]:
            run.append_metrics(line)
        (folder / "lora.safetensors").write_bytes(b"adapters")
        (folder / "samples").mkdir()
        (folder / "samples" / "heldout-0.mp4").write_bytes(b"a video")
        run.write_record(
            Record(
                experiment=config.experiment,
                suite=config.suite.suite,
                method=config.method,
                reward=config.reward,
                seed=config.seed,
                config=config.model_dump(mode="json"),
                config_digest=config_digest(config),
                ledger={"reward_queries": 8, "device_seconds": 7200.0, **_LEDGER},
                evaluations=[_evaluation(0), _evaluation(8)],
                digests={},
                packages={},
                machine=machine(),
                git={"commit": "abc"},
            )
        )


def all_lines() -> list[dict[str, Any]]:
    """Return the metrics of a whole run."""
    return [
        evaluation_line(0, 0.0),
        step_line(2, 1.25),
        step_line(4, 2.5),
        evaluation_line(4, 2.5),
        step_line(8, 5.75),
        evaluation_line(8, 5.75, "train"),
        evaluation_line(8, 5.75),
    ]


def _evaluation(queries: int) -> Evaluation:
    scores = [VideoScore(prompt="a red cat", sample=0, reward=queries / 2)]
    return Evaluation(split="heldout", queries=queries, flops=0, device_seconds=0.0, scores=scores)
