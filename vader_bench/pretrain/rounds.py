"""A round of the rewards: the pool grows, then each reward learns from it, several at a time."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from vader_bench.pretrain import parallel
from vader_bench.pretrain.clips import REWARD_CLIPS, rendered
from vader_bench.pretrain.learners import LEARNERS, folder_of
from vader_bench.pretrain.lesson import Lesson
from vader_bench.pretrain.pool_parts import Places, make, makers, open_pool

__all__ = ["learn", "play"]


def play(round_: int, work: Path, out: Path) -> None:
    """Do ``round_`` on as many processes as torch has threads; what is done already is not done again."""
    processes = torch.get_num_threads()
    rendered("train", REWARD_CLIPS, work)  # kept there before several processes ask for them
    parallel.spread(partial(make, places=Places(work, out)), processes, makers(round_))
    parallel.spread(partial(learn, round_=round_, places=Places(work, out)), processes, list(LEARNERS))


def learn(name: str, round_: int, places: Places) -> None:
    """Have the reward ``name`` do its part of ``round_``."""
    learner, work, out = LEARNERS[name], places.work, places.out
    learner.learn(
        Lesson(
            stage=f"{learner.part}-{round_}",
            begin=folder_of(work, out, round_ - 1) / learner.part if round_ else None,
            target=folder_of(work, out, round_) / learner.part,
            clip=out / "clip",
            work=work,
            pool=open_pool(round_, work, name),
            steps=learner.steps.later if round_ else learner.steps.first,
        )
    )
