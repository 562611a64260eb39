"""A study is warned of for what is wrong with it, and for nothing else."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.support.built import made_study
from tests.support.studies import study_data
from vader_bench.human.analysis.estimates import collect
from vader_bench.human.config import LONG_SEED, StudyConfig
from vader_bench.human.package.advice import answers_lost, doubts, outlook, power_with
from vader_bench.human.package.design import StudyDesign, draw_design
from vader_bench.human.package.sources import Scene
from vader_bench.human.rehearsal.raters import even_raters
from vader_bench.human.rehearsal.simulate import simulate
from vader_bench.seeding import numpy_stream

GOOD: dict[str, Any] = {"responses": 240, "seed": LONG_SEED}
"""Of a study of four pairs a block: 60 blocks."""
ONE_BLOCK_EACH = {"items": 4, "gold": 1, "repeats": 1, "per_rater": 1}


def told(prompts: int = 240, **changes: Any) -> list[str]:
    study = StudyConfig.model_validate(study_data(**GOOD | changes))
    scenes = [Scene(f"prompt {index}", 0) for index in range(prompts)]
    return list(doubts(study, draw_design(study, scenes), scenes))


def test_a_study_of_many_prompts_and_people_has_no_warning() -> None:
    assert told() == []


def test_few_prompts_and_few_people_are_warned_of() -> None:
    assert told(29)[0].startswith("29 prompts are few")
    assert not any("few" in line for line in told(30))
    (one,) = told(responses=236)
    assert one.startswith("one person may give 5% of the answers")


def test_two_prompts_are_too_few_for_any_finding() -> None:
    assert told(2)[0].startswith("on 2 prompts nothing can be found")
    assert told(3)[0].startswith("3 prompts are few")


def seen(prompts: int, **changes: Any) -> tuple[StudyConfig, StudyDesign, list[str]]:
    """Return a study with its design and what the build says that it can find."""
    data = study_data(seed=LONG_SEED)
    del data["blocks"], data["responses"]
    study = StudyConfig.model_validate(data | changes)
    design = draw_design(study, [Scene(f"prompt {index}", 0) for index in range(prompts)])
    return study, design, list(outlook(study, design))


def test_the_default_study_reaches_the_power_that_it_claims() -> None:
    study, design, lines = seen(150)
    assert (study.responses_wanted, len(design.blocks), study.blocks.per_rater) == (300, 60, 1)
    # .80 by another simulation of 300 answers on 150 prompts by 60 people at a level of .025
    assert power_with(study, design, 60) == pytest.approx(0.8, abs=0.02)
    assert lines[0].startswith("with 60 people: an interval, and a preference of 60% is found with power 0.")
    assert not any("people" in line for line in lines[1:])


def test_the_fewest_and_the_most_people_are_reported_with_their_power() -> None:
    blocks = {"items": 10, "gold": 1, "repeats": 1, "per_rater": 3}
    study, design, lines = seen(150, blocks=blocks)
    # .48 and .73 of 10 and 30 people by another simulation
    few, many = power_with(study, design, 10), power_with(study, design, 30)
    assert (few, many) == pytest.approx((0.48, 0.73), abs=0.04)
    found = "an interval, and a preference of 60% is found with power"
    assert lines[:2] == [
        f"with 10 people (the fewest): {found} {few:.2f}, less than the usual 0.8",
        f"with 30 people (one block each): {found} {many:.2f}, less than the usual 0.8",
    ]
    assert lines[2:] == []


def test_that_two_people_find_nothing_is_reported_before_they_are_asked() -> None:
    blocks = {"items": 12, "gold": 1, "repeats": 1, "per_rater": 20}
    *_, lines = seen(40, responses=360, blocks=blocks)
    assert lines[0].startswith("with 2 people (the fewest) on 40 prompts: no interval and no finding")
    assert lines[1].startswith("with 30 people (one block each): an interval")


@pytest.mark.parametrize(
    ("blocks", "exclusion", "idle"),
    [
        ({"items": 10, "gold": 1, "repeats": 1, "per_rater": 1}, {}, ["repeats", "one side"]),
        ({"items": 10, "gold": 1, "repeats": 1, "per_rater": 2}, {}, []),
        ({"items": 18, "gold": 1, "repeats": 1, "per_rater": 1}, {}, ["repeats"]),
        ({"items": 10, "gold": 0, "repeats": 2, "per_rater": 2}, {}, ["gold pairs"]),
        ({"items": 5, "per_rater": 1}, {"one_sided_items": 7, "repeats_answers": 2}, ["one side"]),
        ({"items": 5, "per_rater": 2}, {"one_sided_items": 14, "watched": 0.0}, ["watching"]),
    ],
)  # fmt: skip
def test_rules_that_can_leave_nobody_out_are_reported(
    blocks: dict[str, int], exclusion: dict[str, Any], idle: list[str]
) -> None:
    *_, lines = seen(100, blocks=blocks, exclusion=exclusion)
    told_of = [line for line in lines if line.startswith("the rule on ")]
    assert [line.removeprefix("the rule on ").partition(" can leave")[0] for line in told_of] == idle


def test_answers_that_would_not_count_are_reported_with_their_number() -> None:
    # four prompts are in all of 15 blocks: each of 5 people counts once for a prompt, 20 of 60 answers
    (line,) = [line for line in told(4, responses=60) if "would be paid" in line]
    assert line.startswith("about 40 of 60 answers a question (67%)")
    assert not any("would be paid" in line for line in told(4, responses=60, blocks=ONE_BLOCK_EACH))


@pytest.mark.parametrize(("prompts", "samples", "per_rater"), [(9, 1, 2), (12, 2, 4)])
def test_the_number_is_that_of_blocks_dealt_at_random(prompts: int, samples: int, per_rater: int) -> None:
    arms = {"unrefined": "one", "refinedarm": "two", "third": "three"}
    study = StudyConfig.model_validate(study_data(arms=arms, responses=46))
    scenes = [Scene(f"prompt {index}", sample) for index in range(prompts) for sample in range(samples)]
    design = draw_design(study, scenes)
    rng, lost = numpy_stream(1, "deal"), []
    for _ in range(300):
        order = rng.permutation(len(design.blocks)).tolist()
        met = [
            (person, item.prompt, frozenset((item.left.arm, item.right.arm)))
            for place, number in enumerate(order)
            for person in [place // per_rater]
            for item in design.blocks[number].items
            if item.role == "main"
        ]
        lost.append(len(met) - len(set(met)))
    error = np.std(lost) / np.sqrt(len(lost))
    assert answers_lost(design, per_rater) == pytest.approx(np.mean(lost), abs=4 * error)
    assert 0 < answers_lost(design, per_rater) < 3 * 46


def test_the_analysis_drops_as_many_as_were_told() -> None:
    built = made_study(prompts=24, responses=96, blocks={"items": 8, "gold": 0, "repeats": 0, "per_rater": 3})
    population = even_raters(1, built.arms, ["text", "quality"])
    found = collect(built, simulate(built, population, 4))
    study = StudyConfig.model_validate(
        study_data(
            arms={"base": "base", "vader": "vader"}, gold_arm="base", responses=96,
            blocks={"items": 8, "gold": 0, "repeats": 0, "per_rater": 3},
        )
    )  # fmt: skip
    scenes = [Scene(f"prompt {index}", 0) for index in range(24)]
    assert found.later / 2 == pytest.approx(answers_lost(draw_design(study, scenes), 3), rel=0.25)


def test_a_seed_that_can_be_tried_is_warned_of_with_a_command_that_draws_one() -> None:
    (line,) = told(seed=LONG_SEED - 1)
    _, program = shlex.split(line.partition("as by python3 ")[2])
    drawn = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert LONG_SEED <= int(drawn.stdout) < 2**128
