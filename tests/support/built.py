"""Studies as they are after the build, without a video or a file."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.support.studies import PROMPTS, study_data, write_study
from vader_bench import files
from vader_bench.human.config import StudyConfig, load_study
from vader_bench.human.package.build import seal
from vader_bench.human.package.design import draw_design
from vader_bench.human.package.sources import Scene
from vader_bench.human.plan import KEY, Built
from vader_bench.human.responses import Ingested, Refusal, Source, Submission
from vader_bench.videos import Shape

__all__ = ["ARMS", "ingest", "invented_study", "made_study"]

ARMS = ("base", "vader")


def made_study(
    *, prompts: int = 24, arms: tuple[str, ...] = ARMS, folder: Path = Path("nowhere"), **changes: Any
) -> Built:
    """Return a study of ``arms`` on as many prompts; further fields of the study file may be changed."""
    fields = {"arms": {arm: arm for arm in arms}, "gold_arm": arms[0], "responses": 48} | changes
    study = StudyConfig.model_validate(study_data(**fields))
    return _sealed(study, [f"prompt {index}" for index in range(prompts)], 16, folder)


def invented_study(folder: Path, **changes: Any) -> Built:
    """Write plan and key of a small study under ``folder``, without pages and videos, which last 1 s."""
    study = load_study(write_study(folder, **changes))
    built = _sealed(study, changes.get("lines", PROMPTS), 8, folder / "out" / study.study)
    sealed = {"plan": built.plan.model_dump(mode="json"), "sha256": built.plan.digest}
    files.write_json(built.package / "plan.json", sealed)
    files.write_json(built.folder / KEY, built.key.model_dump(mode="json"))
    return built


def _sealed(study: StudyConfig, prompts: Sequence[str], frames: int, folder: Path) -> Built:
    scenes = [Scene(prompt, 0) for prompt in prompts]
    design = draw_design(study, scenes)
    shape = Shape(width=64, height=48, frames=frames, rate=Fraction(8))
    return Built(folder, *seal(study, design, scenes, shape, dict.fromkeys(design.clips, "0" * 64)))


def ingest(built: Built, submissions: Sequence[Submission], **changes: Any) -> Ingested:
    """Return ``submissions`` as all that came in, with one refused row beside them."""
    fields = {
        "study": built.key.study,
        "plan_sha256": built.plan.digest,
        "simulated": True,
        "sources": [Source(name="results.csv", sha256="1" * 64, rows=len(submissions) + 1)],
        "submissions": list(submissions),
        "refused": [Refusal(source="results.csv:9", reason="unknown block (results.csv:9)")],
    }
    return Ingested.model_validate(fields | changes)
