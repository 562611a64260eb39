"""What ``measure`` has found out about arms on a device, kept in a file that ``plan`` reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from vader_bench import files
from vader_bench.config.schema import Strict
from vader_bench.config.yamlfile import parse, raise_faults
from vader_bench.cost.gpus import Gpu, card_of

__all__ = ["MEASURED_FOLDER", "ArmMeasurement", "Spent", "Utilisation", "keep", "kept", "measured_file"]

MEASURED_FOLDER = "measured"
"""Folder among all results: a file for each device."""


class Spent(Strict):
    """What making some videos has taken, beside what was estimated of it."""

    videos: int
    """Those that were timed."""
    seconds: float
    flops: int
    """Of the videos that were timed."""
    estimated_flops: int
    bytes: int
    """Most that tensors took at once."""
    estimated_bytes: int

    @property
    def seconds_a_video(self) -> float:
        """Return the time of one video."""
        return self.seconds / self.videos

    @property
    def rate(self) -> float:
        """Return FLOP/s."""
        return self.flops / self.seconds


class ArmMeasurement(Strict):
    """An arm of an experiment, measured on a device."""

    suite: str
    arm: str
    reward: str
    precision: str
    """``fp32``, ``fp16`` or ``bf16``: of the frozen weights."""
    memory: str
    """Switches that were on, in words."""
    video: tuple[int, int, int]
    """Frames, height and width."""
    batch: int
    random_weights: bool
    """Whether some weights were random: time, memory and FLOPs do not depend on what they are."""
    training: Spent
    """A video is a reward query, with its share of an update."""
    look: Spent

    @property
    def key(self) -> tuple[object, ...]:
        """Return what makes another measurement one of the same thing."""
        return (self.suite, self.arm, self.reward, self.precision, self.memory, self.video, self.batch)


class Measurements(Strict):
    """The file of a device."""

    version: int = 1
    device: str
    """As its driver calls it; ``cpu``."""
    arms: list[ArmMeasurement]


class Utilisation:
    """Shares of a card's peak rate that were measured.

    Args:
        arms: measured on the card.
        gpu: the card.
    """

    def __init__(self, arms: Iterable[ArmMeasurement], gpu: Gpu) -> None:
        self._arms = list(arms)
        self._gpu = gpu

    def training(self, suite: str, precision: str) -> float | None:
        """Return the median share of the arms of ``suite`` while training; ``None`` if none was measured."""
        return self._median(suite, precision, "training")

    def looks(self, suite: str, precision: str) -> float | None:
        """Return the same at looks."""
        return self._median(suite, precision, "look")

    def _median(self, suite: str, precision: str, kind: str) -> float | None:
        alike = [one for one in self._arms if (one.suite, one.precision) == (suite, precision)]
        peak = self._gpu.rate(precision)
        return median(getattr(one, kind).rate / peak for one in alike) if alike else None


def measured_file(results: Path, device: str) -> Path:
    """Return the file of a device by its driver's name for it, or by the name of the card in the table."""
    name = card_of(device) or re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    return results / MEASURED_FOLDER / f"{name}.json"


def kept(path: Path) -> list[ArmMeasurement]:
    """Return what the file ``path`` holds; nothing if there is none.

    Raises:
        UserError: it holds something else.
    """
    if not path.exists():
        return []
    found, faults = parse(Measurements, files.read_json(path))
    raise_faults(str(path), faults)
    assert found is not None
    return found.arms


def keep(path: Path, device: str, arms: Iterable[ArmMeasurement]) -> None:
    """Add ``arms`` to the file ``path``, in place of older measurements of the same.

    Raises:
        UserError: the file holds something else, or the disk refuses.
    """
    all_arms = {one.key: one for one in [*kept(path), *arms]}
    table = Measurements(device=device, arms=list(all_arms.values()))
    files.write_json(path, table.model_dump(mode="json"))
