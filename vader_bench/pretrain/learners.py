"""The learned rewards in a row: how each learns, what it imitates, and what a suite says to load it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from vader_bench.pretrain import aesthetic, hps, pickscore, videomae, vjepa, yolos
from vader_bench.pretrain.lesson import Lesson
from vader_bench.rewards import Reward, make_reward

__all__ = ["LEARNERS", "ROUNDS", "Learner", "RoundSteps", "folder_of", "load_reward", "load_truth"]

ROUNDS = 3
"""First all learn from the pool; then twice from models that were trained against the round before."""


class RoundSteps(NamedTuple):
    """How long a reward learns."""

    first: int
    later: int
    """In each round after the first."""


@dataclass(frozen=True)
class Learner:
    """A learned reward."""

    part: str
    """Name of its folder."""
    learn: Callable[[Lesson], None]
    steps: RoundSteps
    truth: str
    """Family of the reward that it imitates."""
    settings: Callable[[str], dict[str, object]]
    """What its family is made with, for a folder, as in the suites."""
    books: bool = False
    """Whether it is about books, so that models are trained against it on prompts with one."""
    raised: Mapping[str, object] = field(default_factory=dict)
    """Settings of what adversaries raise, where methods raise something else in the suites."""


LEARNERS: dict[str, Learner] = {
    "temporal-consistency": Learner(
        "vjepa", vjepa.learn, RoundSteps(1100, 250), "actor-constancy", lambda at: {"model": at, "masks": 2}
    ),
    "hps": Learner("hps", hps.learn, RoundSteps(1300, 400), "audience-utility", lambda at: {"model": at}),
    "pickscore": Learner(
        "pickscore", pickscore.learn, RoundSteps(1300, 400), "judges-appeal", lambda at: {"model": at}
    ),
    "aesthetic": Learner(
        "aesthetic", aesthetic.learn, RoundSteps(1400, 500), "audience-rating",
        lambda at: {"clip": at, "head": f"{at}/head.safetensors"},
    ),
    "action": Learner(
        "videomae", videomae.learn, RoundSteps(2200, 600), "action-verdict", lambda at: {"model": at},
        raised={"objective": "log-probability"},
    ),
    "object-removal": Learner(
        "yolos", yolos.learn, RoundSteps(1700, 500), "book-absence",
        lambda at: {"model": at, "target": "book", "height": 64}, books=True,
    ),
}  # fmt: skip
"""By the name that suites use, longest first, so that two processes end at about the same time."""


def folder_of(work: Path, out: Path, round_: int) -> Path:
    """Return where the rewards of a round are kept, one folder each; the last ones are finished."""
    return out if round_ == ROUNDS - 1 else work / f"rewards-{round_}"


def load_reward(name: str, folder: Path) -> Reward:
    """Return the reward ``name`` from ``folder``, which holds one folder a reward."""
    learner = LEARNERS[name]
    return make_reward(name, learner.settings(str(folder / learner.part)) | dict(learner.raised))


def load_truth(name: str) -> Reward:
    """Return what the reward ``name`` imitates, measured on pixels."""
    return make_reward(LEARNERS[name].truth, {})
