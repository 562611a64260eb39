"""The versioned file of everything one run did and found, and the folder that holds it."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from vader_bench.config.faults import first_fault
from vader_bench.config.names import run_name
from vader_bench.config.schema import EvaluationConfig, SuiteConfig
from vader_bench.records.columns import by_rows
from vader_bench.records.upgrade import RECORD_VERSION, gold_is_share, upgraded

__all__ = [
    "EXTENDED", "RECORD_VERSION", "SAMPLE_PROMPTS", "Asked", "Evaluation", "Extension", "FrontierPoint",
    "Record", "Sample", "Stored", "VideoScore", "gold_is_share",
]  # fmt: skip

SAMPLE_PROMPTS: Final = 4
"""Videos of so many held-out prompts, the first ones in evaluation order, are kept of every run."""
_LEDGER: Final = ("reward_queries", "flops", "device_seconds")
"""What every record has spent, if only zeros."""
EXTENDED: Final = "extended"
"""In the names of videos that were made longer."""


class Stored(BaseModel):
    """A table of a file that a run leaves: every key known, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class VideoScore(Stored):
    """One evaluated video."""

    prompt: str
    sample: int
    """Index of the evaluation noise for this prompt."""
    reward: float
    """Score by the training reward."""
    gold: float | None = None
    """The truth that the training reward imitates, where the suite measures it."""
    prompt_share: float | None = None
    """The share of its prompt that the video shows, where the suite measures it: in [0, 1]."""
    others: dict[str, float] = {}
    """Scores by other rewards of the suite, by their names, where the experiment asks for them."""


class Evaluation(Stored):
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
    motion: float | None = None
    """Mean change from frame to frame, in [0, 1]; ``None`` in records made before it was measured."""
    path_kl: float | None = None
    """How far sampling has moved from the base model, in nats a video; see ``evaluation.path_kl``.
    ``None`` where the experiment does not ask for it."""


class FrontierPoint(Stored):
    """A look at the trained model with its adapters scaled: 0 is the base model, 1 what was trained."""

    scale: float
    look: Evaluation


class Extension(Stored):
    """One video made longer: the last frame of a chunk is the picture the next chunk starts from."""

    prompt: str
    rewards: list[float]
    """By chunk, the training reward."""
    golds: list[float] = []
    """By chunk, the truth that the training reward imitates, where the suite measures it."""
    prompt_shares: list[float] = []
    """By chunk, the share of the prompt, where the suite measures it."""


class Sample(Stored):
    """One of the videos that a run leaves."""

    prompt: str
    verdict: str = ""
    """What the reward model sees in it, in words; empty where it has no words."""


class Asked(BaseModel):
    """What a run was asked to do, as far as all that reads records takes it for granted."""

    model_config = ConfigDict(frozen=True)

    suite: SuiteConfig
    evaluation: EvaluationConfig
    method: str
    settings: dict[str, Any]
    prompts: str
    reward_queries: int


class Record(Stored):
    """Everything one run did and found."""

    version: Literal[5] = RECORD_VERSION
    status: Literal["finished"] = "finished"
    experiment: str
    suite: str
    method: str
    arm: str = ""
    """Name of the arm, where an experiment has several of one method; see ``label``."""
    baseline: bool = False
    """Whether the method is a baseline; see ``methods.Method``."""
    reward: str
    seed: int
    config: dict[str, Any]
    """The resolved configuration of the run, all defaults filled in, as it is written; ``asked`` reads it."""
    config_digest: str
    key: str = ""
    """That of the training, see ``training.identity``; empty in records made before trainings had one."""
    command: str = ""
    """The command that began the training; empty where it is not known."""
    taken_from: str = ""
    """``<experiment>/<suite>/<run>`` whose training this run took; empty where it trained itself."""
    ledger: dict[str, int | float]
    evaluations: list[Evaluation]
    """In order of queries, then split; the first ones, at 0 queries, are of the base model."""
    digests: dict[str, str]
    """SHA-256 of weights, prompt splits and code by name, e.g. ``prompts/heldout``."""
    packages: dict[str, str]
    """Like ``machine`` and ``git``, what was in force when the training began."""
    machine: dict[str, Any]
    """See ``provenance.machine``; with ``device``, on which the models computed, from version 3 on."""
    git: dict[str, Any]
    """``commit`` and ``dirty``; empty outside a checkout."""
    peak_bytes: int | None = None
    """Most bytes that tensors made by the first training step had at a time; ``None``: not measured."""
    frontier: list[FrontierPoint] = []
    """Where the experiment asks for scales of the adapters."""
    extensions: list[Extension] = []
    """Where the experiment asks for longer videos."""
    samples: list[Sample] = []
    """The videos beside the record, in the order of their files."""
    notes: list[str] = []
    """What its method wants said beside its numbers."""

    @field_validator("config")
    @classmethod
    def _checked(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Refuse a configuration that is none; what was written stays as it is."""
        try:
            Asked.model_validate(config)
        except ValidationError as error:
            raise ValueError(first_fault(error)) from error
        return config

    @field_validator("ledger")
    @classmethod
    def _spent(cls, ledger: dict[str, int | float]) -> dict[str, int | float]:
        if lacking := [key for key in _LEDGER if key not in ledger]:
            raise ValueError(f"lacks {lacking[0]}")
        return ledger

    @model_validator(mode="before")
    @classmethod
    def _current(cls, data: Any) -> Any:
        """Read records of older versions too, and scores by column as files have them."""
        if not isinstance(data, dict):
            return data
        return by_rows(upgraded(data) if data.get("version") in range(1, RECORD_VERSION) else data)

    @cached_property
    def asked(self) -> Asked:
        """Return ``config``, parsed."""
        return Asked.model_validate(self.config)

    @property
    def label(self) -> str:
        """Return what the run's row and curve are called: its arm, or its method."""
        return self.arm or self.method

    @property
    def has_path_kl(self) -> bool:
        """Tell whether looks measured how far sampling has moved from the base model."""
        return any(look.path_kl is not None for look in self.evaluations)

    @property
    def on_gpu(self) -> bool:
        """Tell whether the run was trained on a GPU; what 0.1.0 left does not say so, and was not."""
        return str(self.machine.get("device", "cpu")) == "cuda"

    @property
    def name(self) -> str:
        """Return the name of the run's folder."""
        return run_name(self.label, self.reward, self.seed)
