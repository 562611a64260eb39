"""Invented results of an experiment, on disk as a run leaves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.support.configs import run_config
from vader_bench.config.schema import ExperimentConfig, RunConfig, config_digest
from vader_bench.files import write_json, write_text
from vader_bench.records.provenance import machine
from vader_bench.records.record import Evaluation, Record, VideoScore

__all__ = ["Invented", "make_record", "write_results"]

SPLITS = ("train", "heldout", "composition")


@dataclass(frozen=True)
class Invented:
    """The numbers behind invented results: reward = base of the prompt + gain + noise of seed and video."""

    experiment: str = "fig7"
    rewards: Sequence[str] = ("red", "blue")
    methods: Sequence[str] = ("vader", "ddpo", "diffusion-dpo")
    seeds: Sequence[int] = (0, 1, 2)
    budget: int = 64
    every: int = 16
    prompts: int = 6
    final_prompts: int = 8
    samples: int = 2
    best_of: Sequence[int] = (1, 2, 4)
    gains: dict[str, float] = field(
        default_factory=lambda: {"vader": 0.4, "ddpo": 0.04, "diffusion-dpo": 0.08}
    )
    """Held-out gain at the end of the budget."""
    seconds: dict[str, float] = field(
        default_factory=lambda: {"vader": 40.0, "ddpo": 90.0, "diffusion-dpo": 70.0}
    )
    """Device time at the end of the budget."""
    adapters: Sequence[str] = ()
    """Those of ``methods`` that are adapters from a file; their gain is there without a budget."""
    seed_noise: float = 0.01
    video_noise: float = 0.02
    gold: Callable[[float], float | None] = lambda gain: 0.5 + 0.2 * gain
    prompt_share: Callable[[float], float | None] = lambda gain: 0.75 - 0.1 * gain
    device: str = "cpu"
    clock: float = 1.0
    """Device times are multiplied by it, as on another machine."""


def write_results(folder: Path, invented: Invented | None = None, *, skip: Sequence[str] = ()) -> Path:
    """Write ``experiment.yaml`` and the records of all runs but those named in ``skip``."""
    world = invented or Invented()
    experiment = _experiment(world)
    write_text(
        folder / "experiment.yaml", yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False)
    )
    for reward in world.rewards:
        runs = [("base", world.seeds[0]), *((m, s) for m in world.methods for s in _seeds(world, m))]
        for method, seed in runs:
            record = make_record(world, method, reward, seed)
            name = f"{method}-{reward}-seed{seed}"
            if name not in skip:
                write_json(folder / "runs" / name / "record.json", record.model_dump(mode="json"))
    return folder


def make_record(world: Invented, method: str, reward: str, seed: int) -> Record:
    """Return the record of one run."""
    config = _config(world, method, reward, seed)
    spent = config.reward_queries
    return Record(
        experiment=world.experiment,
        suite="tiny",
        method=config.method,
        arm=config.arm,
        baseline=method in {"ddpo", "diffusion-dpo"},
        reward=reward,
        seed=seed,
        config=config.model_dump(mode="json"),
        config_digest=config_digest(config),
        ledger={
            "reward_queries": spent,
            "gradient_queries": spent if method == "vader" else 0,
            "frames_scored": spent * 8,
            "denoiser_forwards": spent * 10,
            "denoiser_backwards": 0,
            "vae_decodes": spent * 8,
            "flops": spent * 10**9,
            "device_seconds": world.seconds.get(method, 0.0) * world.clock,
        },
        evaluations=_evaluations(world, method, reward, seed),
        digests={"weights/unet": "1" * 64, "prompts/heldout": "2" * 64, "code": "3" * 64},
        packages={"torch": "2.13.0", "numpy": "2.4.6"},
        machine=machine(world.device) | {"processor": "invented"},
        git={"commit": "4" * 40, "dirty": False},
    )


def _seeds(world: Invented, method: str) -> Sequence[int]:
    return world.seeds[:1] if method in world.adapters else world.seeds


def _evaluations(world: Invented, method: str, reward: str, seed: int) -> list[Evaluation]:
    if method == "base":
        count = max(world.best_of)
        looks = [(0, s, world.final_prompts, count if s == "heldout" else 1) for s in SPLITS]
        return [_evaluation(world, method, reward, seed, look) for look in looks]
    if method in world.adapters:
        looks = [(0, split, world.final_prompts, world.samples) for split in SPLITS]
        return [_evaluation(world, method, reward, seed, look) for look in looks]
    looks = []
    for queries in range(0, world.budget + 1, world.every):
        if queries in {0, world.budget}:
            looks += [(queries, split, world.final_prompts, world.samples) for split in SPLITS]
        else:
            looks.append((queries, "heldout", world.prompts, 1))
    return [_evaluation(world, method, reward, seed, look) for look in looks]


def _evaluation(
    world: Invented, method: str, reward: str, seed: int, look: tuple[int, str, int, int]
) -> Evaluation:
    queries, split, prompts, samples = look
    spent = queries / world.budget
    share = 1.0 if method in world.adapters else spent
    gain = world.gains.get(method, 0.0) * (1 - (1 - share) ** 2) * (1.2 if split == "train" else 1.0)
    run = np.random.default_rng([seed, len(method), len(reward)])
    if queries:
        gain += world.seed_noise * run.normal()
    return Evaluation(
        split=split,
        queries=queries,
        flops=queries * 10**9,
        device_seconds=spent * world.seconds.get(method, 0.0) * world.clock * (1 + 0.02 * seed),
        scores=[
            _score(world, reward, f"a {split} prompt, number {index}", sample, gain, (seed, queries))
            for index in range(prompts)
            for sample in range(samples)
        ],
        diversity=0.3 - 0.1 * gain if samples > 1 else None,
    )


def _score(
    world: Invented, reward: str, prompt: str, sample: int, gain: float, moment: tuple[int, int]
) -> VideoScore:
    letters = [ord(letter) for letter in prompt + reward]
    base = 0.3 + 0.05 * np.random.default_rng([*letters, sample]).normal()
    seed, queries = moment
    video = np.random.default_rng([*letters, sample, seed, queries, round(1e6 * abs(gain))])
    noise = world.video_noise * video.normal() if queries else 0.0
    value = float(base + gain + noise)
    measured = {"gold": world.gold(gain), "prompt_share": world.prompt_share(gain)}
    return VideoScore(prompt=prompt, sample=sample, reward=value, **measured)


def _settings(world: Invented, method: str) -> dict[str, Any]:
    if method in world.adapters:
        return {"adapter": f"./{method}.safetensors"}
    return {} if method == "base" else {"learning_rate": 0.01, "lora_rank": 2}


def _evaluation_settings(world: Invented) -> dict[str, Any]:
    return {
        "every": world.every,
        "prompts": world.prompts,
        "splits": ["heldout"],
        "final_splits": list(SPLITS),
        "final_prompts": world.final_prompts,
        "samples": world.samples,
        "best_of": list(world.best_of),
    }


def _config(world: Invented, method: str, reward: str, seed: int) -> RunConfig:
    base = run_config()
    suite = base.suite.model_dump() | {"rewards": {r: {"family": "redness"} for r in world.rewards}}
    return run_config(
        experiment=world.experiment,
        suite=suite,
        method="adapter" if method in world.adapters else method,
        arm=method if method in world.adapters else "",
        settings=_settings(world, method),
        reward=reward,
        seed=seed,
        reward_queries=0 if method in {"base", *world.adapters} else world.budget,
        evaluation=_evaluation_settings(world),
    )


def _experiment(world: Invented) -> ExperimentConfig:
    return ExperimentConfig.model_validate(
        {
            "experiment": world.experiment,
            "question": "Which method raises a reward most for the same <budget>?",
            "suite": "pocket",
            "rewards": list(world.rewards),
            "methods": {method: _settings(world, method) for method in world.methods},
            "seeds": list(world.seeds),
            "budget": {"reward_queries": world.budget},
            "evaluation": _evaluation_settings(world),
        }
    )
