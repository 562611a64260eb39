"""The processes that do one run together, each on a device of its own, and all that they tell each other.

They work in step. Each holds the whole model and the same random streams, draws the same prompts and noise
and computes the same loss. Shared out among them are the rows of each call of a network, which take nearly
all the time. So a method needs to know nothing of it: groups, pairs, statistics and the ledger are those of
the whole batch everywhere, and the sum over the processes of an adapter's gradients is its gradient, however
many rows each of them has.

accelerate would wrap the denoiser in PyTorch's ``DistributedDataParallel``. That takes the mean over
processes, as if all had as many rows, and expects one call of the network an update, where a sampler makes
many. Its state would only read the number of a process from a launcher's variables, which a worker does not
look at. So ``torch.distributed`` is called directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it does not export it by name

__all__ = ["ALONE", "World", "join", "meeting_place"]

_HERE = "127.0.0.1"
_PATIENCE = timedelta(days=20)
"""How long a process waits for the others: longer than any look, which the first takes alone. Whoever has
started them sees when one dies."""


@dataclass(frozen=True)
class World:
    """The processes of a run as one of them sees them. Alone, it does all the work and says nothing."""

    rank: int = 0
    """Its number, from 0 on; the first one keeps the run's folder."""
    size: int = 1

    def share(self, rows: int) -> slice:
        """Return which of so many rows are this process's: as many as others', or one more; or none."""
        first, last = (-(-rows * border // self.size) for border in (self.rank, self.rank + 1))
        return slice(first, last)

    def scattered(self, whole: Tensor) -> Tensor:
        """Return this process's share [b, ...] of ``whole`` [B, ...], which all have alike.

        One without a share gets the first row: it computes along for the graph's sake, and ``gathered``
        leaves out what it makes of it.
        """
        if self.size == 1:
            return whole
        shared: Tensor = _Scattered.apply(whole, self)  # type: ignore[no-untyped-call]
        return shared

    def gathered(self, own: Tensor, rows: int) -> Tensor:
        """Return what all processes have made [B, ...] of their shares of ``rows`` rows, ``own`` here."""
        if self.size == 1:
            return own
        whole: Tensor = _Gathered.apply(own, rows, self)  # type: ignore[no-untyped-call]
        return whole

    def total(self, counts: Sequence[int], device: torch.device) -> list[int]:
        """Return the sums over the processes of ``counts``, which travel by ``device``."""
        if self.size == 1:
            return list(counts)
        sums = torch.tensor(counts, dtype=torch.int64, device=device)
        distributed.all_reduce(sums)
        return [int(value) for value in sums.tolist()]

    def add_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Make the gradients of ``weights`` the sums of those of all processes, the same bits in each.

        A weight may have one in some processes alone, as of a network that some rows do not go through: those
        without it have added nothing. One without any keeps none.
        """
        if self.size == 1 or not weights:
            return
        asked = torch.tensor([weight.grad is not None for weight in weights], device=weights[0].device).int()
        distributed.all_reduce(asked, distributed.ReduceOp.MAX)
        gradients = []
        for weight, wanted in zip(weights, asked.tolist(), strict=True):
            if wanted and weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            if weight.grad is not None:
                gradients.append(weight.grad)
        if not gradients:
            return
        together = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(together)
        for gradient, part in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def alike(self, tensors: Sequence[Tensor]) -> bool:
        """Tell whether all processes have the same values in ``tensors``; each of them learns the same."""
        if self.size == 1:
            return True
        least = torch.cat([tensor.detach().flatten() for tensor in tensors])
        most = least.clone()
        distributed.all_reduce(least, distributed.ReduceOp.MIN)
        distributed.all_reduce(most, distributed.ReduceOp.MAX)
        return torch.equal(least, most)

    def first_says(self, payload: bytes | None) -> bytes | None:
        """Return the ``payload`` of the first process; what the others give is not looked at."""
        if self.size == 1:
            return payload
        said = [payload]
        distributed.broadcast_object_list(said, src=0)
        return said[0]

    def collected(self, own: Tensor, rows: int) -> Tensor:
        """Return the shares of all processes [B, ...], without a graph.

        As a sum in which every row has one process's values and zeros: exact, for shares of any sizes.
        """
        mine = self.share(rows)
        whole = own.new_zeros(rows, *own.shape[1:])
        whole[mine] = own[: mine.stop - mine.start]
        distributed.all_reduce(whole)
        return whole


ALONE = World()


def meeting_place() -> TCPStore:
    """Return where processes of this machine find each other, by its ``port``, as long as it is kept."""
    return TCPStore(_HERE, 0, is_master=True, wait_for_workers=False)


def join(rank: int, size: int, device: str, port: int) -> World:
    """Return the world of ``size`` processes, once all of them have called this.

    Args:
        rank: number of this one.
        size: how many there are; a single one waits for nobody.
        device: where it computes. GPUs talk by NCCL, all else by Gloo.
        port: of their ``meeting_place``.
    """
    if size > 1:
        backend = "gloo"
        if device.startswith("cuda"):
            backend = "nccl"
            torch.cuda.set_device(device)  # by which it sends what is no tensor
        store = TCPStore(_HERE, port, is_master=False, timeout=_PATIENCE)
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    return World(rank, size)


class _Scattered(torch.autograd.Function):
    """The rows of one process, and on the way back the gradients of all rows."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, world: World) -> Tensor:
        ctx.rows, ctx.world = len(whole), world
        mine = world.share(len(whole))
        return (whole[mine] if mine.start < mine.stop else whole[:1]).clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.world.collected(gradients[0], ctx.rows), None


class _Gathered(torch.autograd.Function):
    """The rows of all processes, and on the way back the gradients of those that one process made."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, rows: int, world: World) -> Tensor:
        ctx.mine, ctx.made = world.share(rows), len(own)
        return world.collected(own, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        mine = gradients[0][ctx.mine]
        return (mine if len(mine) == ctx.made else mine.new_zeros(ctx.made, *mine.shape[1:])), None, None
