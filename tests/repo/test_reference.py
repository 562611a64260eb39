"""The committed results are small, and hold what ``vader-bench keep`` keeps and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path, PurePath

import pytest

from vader_bench.records.metrics import METRICS_NAME
from vader_bench.report.keep import kept_of_report, kept_of_run

ROOT = Path(__file__).parents[2]
LARGEST = 30 * 10**6
"""Most bytes of all files together."""
SHEETS = {"fig3", "fig5", "fig6", "fig8", "methods"}
"""Whose pictures of all videos ``results/README.md`` points to."""
TUNINGS = {"tune", "tune-methods"}
"""Of whose trials a record and a configuration are kept."""
WITHOUT_VIDEOS = {
    "ablate-frames", "ablate-memory", "ablate-truncation", "fig7-wan", "forms", "overoptimisation", "sanity",
    "step-sizes", "step-sizes-wan", "table1",
}  # fmt: skip
"""Those whose videos ``results/README.md`` says are left out, or are those of another."""
ADAPTERS = "fig7/pocket/runs/vader-"
"""Whose adapters a study in ``human_eval/studies/`` makes new videos of."""


@pytest.fixture(scope="module")
def committed() -> list[PurePath]:
    """Every committed file, relative to ``results/reference``."""
    asked = ["git", "ls-files", "-z", "."]
    folder = ROOT / "results" / "reference"
    told = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=True).stdout
    return [PurePath(name) for name in told.split("\0") if name]


def test_they_are_small(committed: list[PurePath]) -> None:
    folder = ROOT / "results" / "reference"
    assert sum((folder / path).stat().st_size for path in committed) <= LARGEST


def test_nothing_is_there_that_can_be_made_again(committed: list[PurePath]) -> None:
    assert [path.as_posix() for path in committed if not _is_kept(path)] == []


def _is_kept(path: PurePath) -> bool:
    experiment, _suite, *inside = path.parts
    if path.name == METRICS_NAME:
        return False  # it is packed; records are where they were kept since they are packed, too
    if inside[0] != "runs":
        return kept_of_report(path.name) and (path.stem != "samples" or experiment in SHEETS)
    if experiment in TUNINGS:
        return path.name in {"config.json", "record.json", "record.json.gz"}
    adapters = path.as_posix().startswith(ADAPTERS)
    return kept_of_run(
        PurePath(*inside[2:]),
        first=inside[1].endswith("-seed1"),
        adapters=adapters,
        videos=experiment not in WITHOUT_VIDEOS,
    )
