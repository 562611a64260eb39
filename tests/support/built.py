"""Studies as they are after the build, without a video or a file."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.support.studies import study_data
from vader_bench.human.config import StudyConfig
from vader_bench.human.design import draw_design
from vader_bench.human.package import _codes, _item_key, _plan
from vader_bench.human.plan import Built, Key
from vader_bench.human.responses import Ingested, Refusal, Source, Submission
from vader_bench.human.sources import Scene
from vader_bench.videos import Shape

__all__ = ["ARMS", "ingest", "made_study"]

ARMS = ("base", "vader")


def made_study(
    *, prompts: int = 24, arms: tuple[str, ...] = ARMS, folder: Path = Path("nowhere"), **changes: Any
) -> Built:
    """Return a study of ``arms`` on as many prompts; further fields of the study file may be changed."""
    fields = {"arms": {arm: arm for arm in arms}, "gold_arm": arms[0], "responses": 48} | changes
    study = StudyConfig.model_validate(study_data(**fields))
    scenes = [Scene(f"prompt {index}", 0) for index in range(prompts)]
    design = draw_design(study, scenes)
    key = Key(
        study=study.study,
        seed=study.seed,
        arms={code: arm for arm, code in _codes(study).items()},
        order=list(study.arms),
        blocks={block.id: [_item_key(item) for item in block.items] for block in design.blocks},
        videos={},
    )
    shape = Shape(width=64, height=48, frames=16, rate=Fraction(8))
    return Built(folder, _plan(study, design, scenes, shape, key.digest), key)


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
