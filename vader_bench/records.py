"""The versioned file of everything one run did and found, and the folder that holds it."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["RECORD_VERSION", "Evaluation", "Record", "VideoScore", "run_name"]

RECORD_VERSION: Final = 1


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def run_name(arm: str, reward: str, seed: int) -> str:
    """Return the name of a run's folder."""
    return f"{arm}-{reward}-seed{seed}"


class VideoScore(_Stored):
    """One evaluated video."""

    prompt: str
    sample: int
    """Index of the evaluation noise for this prompt."""
    reward: float
    """Score by the training reward."""
    gold: float | None = None
    """Score by the pixel oracle, where the suite has one: in [0, 1]."""


class Evaluation(_Stored):
    """One look at the model: fixed prompts, fixed noise, deterministic sampler. It costs no budget."""

    split: str
    """``train``, ``heldout``, ``composition`` or ``noun``."""
    queries: int
    """Reward queries spent before this look."""
    flops: int
    device_seconds: float
    scores: list[VideoScore]
    diversity: float | None = None
    """Mean pairwise distance between videos of one prompt; ``None`` where a prompt has one video."""


class Record(_Stored):
    """Everything one run did and found."""

    version: Literal[1] = RECORD_VERSION
    status: Literal["finished"] = "finished"
    experiment: str
    suite: str
    method: str
    arm: str = ""
    """Name of the arm, where an experiment has several of one method; see ``label``."""
    reward: str
    seed: int
    config: dict[str, Any]
    """The resolved configuration of the run, all defaults filled in."""
    config_digest: str
    ledger: dict[str, int | float]
    evaluations: list[Evaluation]
    """In order of queries, then split; the first ones, at 0 queries, are of the base model."""
    digests: dict[str, str]
    """SHA-256 of weights, prompt splits and code by name, e.g. ``prompts/heldout``."""
    packages: dict[str, str]
    machine: dict[str, Any]
    git: dict[str, Any]
    """``commit`` and ``dirty``; empty outside a checkout."""

    @property
    def label(self) -> str:
        """Return what the run's row and curve are called: its arm, or its method."""
        return self.arm or self.method

    @property
    def name(self) -> str:
        """Return the name of the run's folder."""
        return run_name(self.label, self.reward, self.seed)
