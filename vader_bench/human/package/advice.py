"""What speaks against a study that can be built all the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from vader_bench.human.config import LONG_SEED, StudyConfig
from vader_bench.human.package.design import Design
from vader_bench.human.package.sources import Scene
from vader_bench.stats.power import FEW_PROMPTS, MOST_OF_ONE

__all__ = ["doubts"]

_NEW_SEED: Final = 'python3 -c "import secrets; print(secrets.randbits(128))"'


def doubts(study: StudyConfig, design: Design, scenes: Sequence[Scene]) -> Iterator[str]:
    """Yield a sentence for everything that its maker should know before the study is served.

    Args:
        study: the study.
        design: who sees what.
        scenes: what the design was drawn on.
    """
    prompts = len({scene.prompt for scene in scenes})
    if prompts < FEW_PROMPTS:
        yield (
            f"{prompts} prompts are few: answers on one prompt go together, so that {study.responses_wanted} "
            f"answers on fewer than {FEW_PROMPTS} prompts say less than they seem to"
        )
    share = min(1.0, study.blocks.per_rater / len(design.blocks))
    if share > MOST_OF_ONE:
        yield f"one person may give {share:.0%} of the answers: lower blocks.per_rater, or ask for more"
    if study.seed < LONG_SEED:
        yield (
            "the seed is short, and whoever finds it by trying can tell the arms apart: for people take one "
            f"that is drawn, as by {_NEW_SEED}"
        )
