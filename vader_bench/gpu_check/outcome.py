"""What checks found, in one JSON file that is whole after each of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from vader_bench import __version__, files
from vader_bench.config.schema import Strict
from vader_bench.cost.measured import ArmMeasurement
from vader_bench.records.provenance import machine, package_versions

__all__ = ["CheckOutcome", "StepsCompared", "write_report"]


class StepsCompared(Strict):
    """Two steps of a method on a device and on the CPU."""

    suite: str
    method: str
    finite: bool
    """Whether all metrics of the device are."""
    difference: float | None
    """Largest relative difference of reward, loss and gradient's norm; ``None`` where only the CPU ran."""


class CheckOutcome(Strict):
    """One check."""

    name: str
    verdict: Literal["passed", "failed", "skipped"]
    seconds: float = 0.0
    why: str = ""
    """Why it failed or was skipped; for a measurement, which switches are on."""
    steps: tuple[StepsCompared, ...] = ()
    measured: tuple[ArmMeasurement, ...] = ()


def write_report(path: Path, outcomes: Iterable[CheckOutcome], device: str) -> None:
    """Replace the file ``path`` by what is known so far.

    Raises:
        UserError: the disk refuses.
    """
    checks: list[dict[str, Any]] = [one.model_dump(mode="json") for one in outcomes]
    report = {
        "version": 1,
        "vader_bench": __version__,
        "machine": machine(device),
        "packages": package_versions(),
        "checks": checks,
    }
    files.write_json(path, report)
