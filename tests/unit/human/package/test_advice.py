"""A study is warned of for what is wrong with it, and for nothing else."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import Any

from tests.support.studies import study_data
from vader_bench.human.config import LONG_SEED, StudyConfig
from vader_bench.human.package.advice import doubts
from vader_bench.human.package.design import draw_design
from vader_bench.human.package.sources import Scene

GOOD: dict[str, Any] = {"responses": 240, "seed": LONG_SEED}
"""Of a study of four pairs a block: 60 blocks."""


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


def test_a_seed_that_can_be_tried_is_warned_of_with_a_command_that_draws_one() -> None:
    (line,) = told(seed=LONG_SEED - 1)
    _, program = shlex.split(line.partition("as by python3 ")[2])
    drawn = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert LONG_SEED <= int(drawn.stdout) < 2**128
