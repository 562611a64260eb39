"""What a study can find, and what speaks against one that can be built all the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import comb
from typing import Final

import numpy as np

from vader_bench.human.config import LONG_SEED, PLACEHOLDERS, StudyConfig
from vader_bench.human.package.design import Block, StudyDesign
from vader_bench.human.package.sources import Scene
from vader_bench.human.plan import Role
from vader_bench.seeding import numpy_stream
from vader_bench.stats.power import FEW_PROMPTS, MOST_OF_ONE, POWER, Variation, power_of_assignment
from vader_bench.stats.preference import ALPHA, MIN_CLUSTERS, exact_p_value

__all__ = ["SOUGHT", "answers_lost", "doubts", "outlook", "power_with"]

SOUGHT: Final = 0.6
"""The preference of which the build says how likely it is to be found."""

MOST_LOST: Final = 0.05
"""Share of the answers that may be paid for nothing without a word."""
_NEW_SEED: Final = 'python3 -c "import secrets; print(secrets.randbits(128))"'


def power_with(study: StudyConfig, design: StudyDesign, people: int, share: float = SOUGHT) -> float:
    """Return the power of one comparison with so many people, to whom blocks are dealt in turn.

    By the test and with the corrections of the analysis, prompts and raters varying as ``study power`` has
    it; of a person's answers on a prompt the first counts.

    Args:
        study: the study.
        design: who sees what.
        people: how many there are.
        share: how often one arm is preferred.
    """
    pair = set(study.pairs[0])
    answers = dict.fromkeys(
        (item.prompt, number % people)
        for number, block in enumerate(design.blocks)
        for item in block.items
        if item.role == "main" and {item.left.arm, item.right.arm} == pair
    )
    names: dict[str, int] = {}
    prompts = np.array([names.setdefault(prompt, len(names)) for prompt, _ in answers])
    raters = np.array([person for _, person in answers])
    level = ALPHA / (len(study.questions) * len(study.pairs))
    stream = numpy_stream(0, "outlook", people)
    return power_of_assignment(prompts, raters, share, Variation(), stream, alpha=level)


def outlook(study: StudyConfig, design: StudyDesign) -> Iterator[str]:
    """Yield what the study can find, with the fewest and with the most people, and which rules are idle."""
    blocks = len(design.blocks)
    fewest = study.blocks.fewest_people(blocks)
    prompts = len({item.prompt for block in design.blocks for item in block.items if item.role == "main"})
    for people in dict.fromkeys((fewest, blocks)):
        which = "" if fewest == blocks else " (the fewest)" if people == fewest else " (one block each)"
        if min(people, prompts) < MIN_CLUSTERS:
            yield (
                f"with {people} people{which} on {prompts} prompts: no interval and no finding, "
                f"which take {MIN_CLUSTERS} of each"
            )
            continue
        power = power_with(study, design, people)
        short = f", less than the usual {POWER:g}" if round(power, 2) < POWER else ""
        found = f"a preference of {SOUGHT:.0%} is found with power {power:.2f}{short}"
        yield f"with {people} people{which}: an interval, and {found}"
    yield from _idle_rules(study, design)


def _idle_rules(study: StudyConfig, design: StudyDesign) -> Iterator[str]:
    """Yield the rules of ``study.exclusion`` that leave nobody out, whatever people do."""
    rules, most = study.exclusion, study.blocks.per_rater
    questions = len(study.questions)
    repeats = most * questions * max(_count(block, "repeat") for block in design.blocks)
    if repeats < rules.repeats_answers:
        yield (
            f"the rule on repeats can leave nobody out: a person repeats at most {repeats} answers, "
            f"and it takes {rules.repeats_answers} (exclusion.repeats_answers)"
        )
    sides = most * max(len(block.items) for block in design.blocks)
    needed = rules.one_sided_items
    if sides < needed:
        yield (
            f"the rule on one side can leave nobody out: a person answers a question at most {sides} times, "
            f"and it takes {needed} (exclusion.one_sided_items)"
        )
    elif exact_p_value(sides, 0) >= rules.one_sided_p:
        yield (
            f"the rule on one side can leave nobody out: {sides} answers for one side have by chance "
            f"p = {exact_p_value(sides, 0):.1g} (exclusion.one_sided_p is {rules.one_sided_p:g})"
        )
    if not study.blocks.gold or not rules.gold_right:
        yield "the rule on gold pairs can leave nobody out: there are none, or none need be right"
    if not rules.watched:
        yield "the rule on watching can leave nobody out (exclusion.watched is 0)"


def _count(block: Block, role: Role) -> int:
    return sum(item.role == role for item in block.items)


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
    if prompts < MIN_CLUSTERS:
        yield f"on {prompts} prompts nothing can be found, whoever answers: it takes {MIN_CLUSTERS} at least"
    elif prompts < FEW_PROMPTS:
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
    open_fields = [name for name, text in PLACEHOLDERS.items() if getattr(study.consent, name) == text]
    if open_fields:
        yield f"the consent is not filled in: {', '.join(open_fields)}"
    if study.seed < LONG_SEED:
        yield (
            "the seed is short, and whoever finds it by trying can tell the arms apart: for people take one "
            f"that is drawn, as by {_NEW_SEED}"
        )
