"""What is fixed before the first answer: the plan, which is published, and the key, which stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import ValidationError

from vader_bench import files
from vader_bench.config.schema import Strict
from vader_bench.errors import UserError
from vader_bench.human.config import (
    BlockConfig,
    ConsentConfig,
    ExclusionConfig,
    GoldKind,
    PayConfig,
    Question,
)

__all__ = [
    "KEY",
    "PACKAGE",
    "AnalysisPlan",
    "Built",
    "ItemKey",
    "Key",
    "Role",
    "StudyPlan",
    "VideoKey",
    "load_built",
]  # fmt: skip

PACKAGE: Final = "package"
"""Folder of all that may be uploaded."""
PLAN_VERSION: Final = 2
KEY: Final = "key/key.json"
"""Which arm is which: readable by its owner only, and never to be uploaded."""

Role = Literal["main", "gold", "repeat"]
Model = TypeVar("Model", bound=Strict)


class StudyPrompts(Strict):
    """The prompts of a study, known by their digest."""

    count: int
    sha256: str


class BlockPlan(BlockConfig):
    """The blocks that were drawn."""

    count: int
    longest: int
    """Pairs in the longest block, golds and repeats counted."""


class VideoPlan(Strict):
    """What all videos of the package are."""

    width: int
    height: int
    frames: int
    frames_per_second: float
    crf: int

    @property
    def seconds(self) -> float:
        """Return how long a video plays."""
        return self.frames / self.frames_per_second


class AnalysisPlan(Strict):
    """How the answers will be analysed."""

    test: str
    """Of a share of one half, two-sided."""
    interval: float
    """Level of the interval that goes with it."""
    degrees_of_freedom: str
    without_spread: str
    """The test where all raters and all prompts lean alike, as in unanimous answers."""
    min_clusters: int
    """With fewer raters or prompts"""
    otherwise: str
    """this is the test: none, and so no finding."""
    alpha: float
    """A preference is shown where the corrected p-value is below."""
    correction: str
    tests: int
    """Questions times comparisons, all corrected together."""
    tie: float
    """What a tie adds to the wins of either arm."""
    counted_once: list[str]
    """Of the answers that agree in all of these, the first one counts."""


class StudyPlan(Strict):
    """What was decided before the first answer, without a word on which arm is which."""

    version: Literal[2] = PLAN_VERSION
    title: str
    questions: list[Question]
    primary: str
    hypotheses: list[str]
    ties: bool
    comparisons: list[list[str]]
    """Pairs of arms by their codes."""
    responses_per_comparison: int
    paper: bool
    """Whether this is the paper's own study, with as many answers: its numbers then stand beside."""
    prompts: StudyPrompts
    scenes: int
    blocks: BlockPlan
    exclusion: ExclusionConfig
    analysis: AnalysisPlan
    """Of the primary question and of all others."""
    pay: PayConfig
    consent: ConsentConfig
    instructions: str
    video: VideoPlan
    key_sha256: str

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the plan, whatever the order of its keys."""
        return _digest(self)


class ItemKey(Strict):
    """One pair of videos as one rater sees it, and what it is."""

    id: str
    role: Role
    prompt: str
    sample: int
    left: str
    """Arm on the left."""
    right: str
    gold: GoldKind | None
    right_answer: Literal["L", "R"] | None
    """Of a gold item: the answer to every question with this kind of gold."""
    repeats: str | None
    """Of a repeat: the id of the item it shows again, sides swapped."""


class VideoKey(Strict):
    """What a file of the package shows."""

    arm: str
    prompt: str
    sample: int
    spoiled: bool
    source_sha256: str


class Key(Strict):
    """What distinguishes the arms; without it no answer can be read."""

    version: Literal[1] = 1
    study: str
    seed: int
    arms: dict[str, str]
    """Name of each arm by its code in the plan."""
    order: list[str]
    """The names as the study file lists them, the one to compare with first."""
    blocks: dict[str, list[ItemKey]]
    """Items by block, in the order they are shown."""
    videos: dict[str, VideoKey]
    """By file name."""

    @property
    def digest(self) -> str:
        """Return the SHA-256 that the plan holds of the key."""
        return _digest(self)


@dataclass(frozen=True)
class Built:
    """A study that was built: its folder, its plan, its key."""

    folder: Path
    plan: StudyPlan
    key: Key

    @property
    def package(self) -> Path:
        """Return the folder that may be uploaded."""
        return self.folder / PACKAGE

    @property
    def arms(self) -> Sequence[str]:
        """Return the names of the arms as the study file lists them, the one to compare with first."""
        return self.key.order

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Return the pairs of arms that are compared; of each, the one that is listed later comes first."""
        arms, place = self.key.arms, self.key.order.index
        named = [[arms[code] for code in codes] for codes in self.plan.comparisons]
        return [(max(pair, key=place), min(pair, key=place)) for pair in named]


def load_built(folder: Path) -> Built:
    """Return the study that ``study build`` wrote to ``folder``.

    Raises:
        UserError: a file is missing or broken, the plan is not what its digest says, or the key is another
            than that of the plan: someone changed what was fixed.
    """
    path = folder / PACKAGE / "plan.json"
    remedy = "give the folder that `vader-bench study build` wrote"
    if not path.is_file():
        raise UserError(str(folder), "holds no study", remedy)
    sealed = files.read_json(path)
    if not isinstance(sealed, dict) or set(sealed) != {"plan", "sha256"}:
        raise UserError(str(path), "is no plan", remedy)
    version = sealed["plan"].get("version") if isinstance(sealed["plan"], dict) else None
    if isinstance(version, int) and version != PLAN_VERSION:
        wrong = f"is a plan of version {version}, and this version of vader-bench takes {PLAN_VERSION}"
        raise UserError(str(path), wrong, "use the version of vader-bench that built the study")
    plan = _validated(StudyPlan, path, sealed["plan"])
    if plan.digest != sealed["sha256"]:
        wrong = "was changed after its digest was taken"
        raise UserError(str(path), wrong, "build the study again, or restore the plan that was published")
    key = _validated(Key, folder / KEY, files.read_json(folder / KEY))
    if key.digest != plan.key_sha256:
        raise UserError(str(folder / KEY), "is not the key of this plan", "restore the key of this study")
    return Built(folder, plan, key)


def _validated(model: type[Model], path: Path, data: Any) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        wrong = f"is not as it was written ({error.error_count()} faults)"
        raise UserError(str(path), wrong, "restore the file, or build the study again") from error


def _digest(model: Strict) -> str:
    return files.sha256_text(files.canonical_json(model.model_dump(mode="json")))
