"""What speaks against a study that can be built all the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import comb
from typing import Final

from vader_bench.human.config import LONG_SEED, StudyConfig
from vader_bench.human.package.design import StudyDesign
from vader_bench.human.package.sources import Scene
from vader_bench.stats.power import FEW_PROMPTS, MOST_OF_ONE

__all__ = ["answers_lost", "doubts"]

MOST_LOST: Final = 0.05
"""Share of the answers that may be paid for nothing without a word."""
_NEW_SEED: Final = 'python3 -c "import secrets; print(secrets.randbits(128))"'


def answers_lost(design: StudyDesign, per_rater: int) -> float:
    """Return how many answers a question are expected not to count, as their rater has given them before.

    Blocks are dealt at random to as few people as there can be, ``per_rater`` each and the last one the rest.
    Of a prompt and pair of arms that c of all blocks show, one answer counts of everyone who gets such a
    block; somebody with k of n blocks gets none with the probability (n-c choose k) / (n choose k).

    Args:
        design: who sees what.
        per_rater: most blocks of one person.
    """
    shown = Counter(
        (item.prompt, frozenset((item.left.arm, item.right.arm)))
        for block in design.blocks
        for item in block.items
        if item.role == "main"
    )
    blocks = len(design.blocks)
    full, rest = divmod(blocks, per_rater)
    people = [per_rater] * full + [rest] * bool(rest)
    counted = sum(
        1 - comb(blocks - times, own) / comb(blocks, own) for times in shown.values() for own in people
    )
    return shown.total() - counted


def doubts(study: StudyConfig, design: StudyDesign, scenes: Sequence[Scene]) -> Iterator[str]:
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
    lost = answers_lost(design, study.blocks.per_rater)
    answers = study.responses_wanted * len(study.pairs)
    if lost > MOST_LOST * answers:
        yield (
            f"about {lost:.0f} of {answers} answers a question ({lost / answers:.0%}) would be paid and not "
            "count, as one person's blocks show the same prompt and arms again and the first answer counts: "
            "lower blocks.per_rater, or take more prompts"
        )
    if study.seed < LONG_SEED:
        yield (
            "the seed is short, and whoever finds it by trying can tell the arms apart: for people take one "
            f"that is drawn, as by {_NEW_SEED}"
        )
