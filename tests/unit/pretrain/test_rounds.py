"""A round makes what its pool lacks and hands each reward its lesson."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vader_bench.pretrain import parallel, rounds
from vader_bench.pretrain.learners import LEARNERS
from vader_bench.pretrain.lesson import Lesson
from vader_bench.pretrain.pool import Pool
from vader_bench.pretrain.pool_parts import Places


@pytest.fixture
def lessons(monkeypatch: pytest.MonkeyPatch, drawn_pool: Pool) -> list[Lesson]:
    """What ``hps`` is given to learn from."""
    given: list[Lesson] = []
    monkeypatch.setitem(LEARNERS, "hps", replace(LEARNERS["hps"], learn=given.append))
    monkeypatch.setattr(rounds, "open_pool", lambda _round, _work, _reward: drawn_pool)
    return given


def test_rounds_go_on_from_the_one_before(lessons: list[Lesson]) -> None:
    places = Places(Path("work"), Path("out"))
    for round_ in range(3):
        rounds.learn("hps", round_, places)
    assert [lesson.begin for lesson in lessons] == [
        None,
        Path("work/rewards-0/hps"),
        Path("work/rewards-1/hps"),
    ]
    assert [lesson.target for lesson in lessons][2] == Path("out/hps")
    assert [lesson.stage for lesson in lessons] == ["hps-0", "hps-1", "hps-2"]
    assert lessons[0].steps > lessons[1].steps == lessons[2].steps
    assert all(lesson.clip == Path("out/clip") for lesson in lessons)


def test_a_round_makes_its_parts_before_anyone_learns(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[object] = []
    monkeypatch.setattr(rounds, "rendered", lambda *_: None)
    monkeypatch.setattr(rounds, "makers", lambda _: ["some", "more"])
    monkeypatch.setattr(parallel, "spread", lambda _work, _processes, tasks: done.extend(tasks))
    rounds.play(0, tmp_path, tmp_path)
    assert done == ["some", "more", *LEARNERS]
