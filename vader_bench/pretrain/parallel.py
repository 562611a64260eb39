"""One stage on several processes that share every batch: small networks gain little from threads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

from vader_bench.launch.orphans import die_with_parent

__all__ = ["average_gradients", "is_first", "is_one_of_many", "own_share", "run", "spread"]

Task = TypeVar("Task")

Work = Callable[[Path, Path], object]


def run(work: Work, processes: int, source: Path, target: Path) -> None:
    """Call ``work(source, target)`` in ``processes`` processes of one thread that know of each other.

    Where one of them fails, or this process ends, all are stopped.
    """
    with tempfile.TemporaryDirectory() as meeting:
        place = f"file://{meeting}/store"
        spawn(_join, (processes, place, work, source, target), nprocs=processes)


def spread(work: Callable[[Task], object], processes: int, tasks: Sequence[Task]) -> None:
    """Call ``work`` with each of ``tasks``, each call on one thread, in ``processes`` processes.

    Where a call fails, those that have not begun are given up and its error is raised.
    """
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_settle) as executor:
        calls = [executor.submit(work, task) for task in tasks]
        try:
            for call in calls:
                call.result()
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def is_one_of_many() -> bool:
    """Tell whether this process works beside others on tasks of their own, so that no one owns the screen."""
    return _beside_others


_beside_others = False


def _settle() -> None:
    global _beside_others  # noqa: PLW0603 - what kind of process this is, said once
    _beside_others = True
    die_with_parent()
    torch.set_num_threads(1)


def _join(rank: int, processes: int, meeting: str, work: Work, source: Path, target: Path) -> None:
    die_with_parent()
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
    try:
        work(source, target)
    finally:
        dist.destroy_process_group()


def own_share() -> slice:
    """Return which items of a batch this process computes; all of them where it is alone."""
    return slice(dist.get_rank(), None, dist.get_world_size()) if dist.is_initialized() else slice(None)


def is_first() -> bool:
    """Tell whether this process is the one that reports and writes."""
    return not dist.is_initialized() or dist.get_rank() == 0


def average_gradients(module: nn.Module) -> None:
    """Make the gradients in all processes their mean; nothing happens where this one is alone."""
    if not dist.is_initialized():
        return
    gradients = [weight.grad for weight in module.parameters() if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
