"""What processes of a run tell each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vader_bench.launch.together import work_together
from vader_bench.training.progress import Progress
from vader_bench.world import ALONE, World

two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")


@given(rows=st.integers(0, 40), size=st.integers(1, 9))
def test_shares_are_all_rows_once_and_as_even_as_can_be(rows: int, size: int) -> None:
    shares = [World(rank, size).share(rows) for rank in range(size)]
    assert [row for share in shares for row in range(rows)[share]] == list(range(rows))
    counts = [share.stop - share.start for share in shares]
    assert max(counts) - min(counts) <= 1


def test_alone_nothing_is_copied() -> None:
    rows = torch.rand(3, 2)
    assert ALONE.gathered(ALONE.scattered(rows), 3) is rows
    assert ALONE.total([2, 3], rows.device) == [2, 3]
    assert ALONE.first_says(b"so") == b"so"
    assert ALONE.alike([torch.tensor([float("nan")])])


def talk(world: World, device: str, report: Callable[[Progress], None]) -> None:
    """Compute in two processes the gradient of ``sum_i c_i (w x_i)^2``; an assertion ends the process."""
    torch.set_default_device(device)
    for rows in (1, 2, 3, 5):
        x = torch.arange(1.0, rows + 1)[:, None].requires_grad_()
        weight, factors = nn.Parameter(torch.tensor(2.0)), torch.arange(rows, 0, -1.0)[:, None]
        whole = world.gathered((weight * world.scattered(x)) ** 2, rows)
        torch.testing.assert_close(whole, 4 * x**2)
        (factors * whole).sum().backward()
        world.add_gradients([weight, nn.Parameter(torch.zeros(2))])
        assert x.grad is not None
        assert weight.grad is not None
        torch.testing.assert_close(x.grad, 8 * factors * x)
        torch.testing.assert_close(weight.grad, (4 * factors * x**2).sum())
    experts = [nn.Parameter(torch.full((2,), float(rank))) for rank in range(3)]
    (experts[world.rank] ** 2).sum().backward()  # as rows that go through one network alone
    world.add_gradients(experts)
    found = [None if expert.grad is None else expert.grad.tolist() for expert in experts]
    assert found == [[0.0, 0.0], [2.0, 2.0], None]
    assert world.first_says(str(world.rank).encode()) == b"0"
    assert world.total([world.rank, 1], torch.device(device)) == [1, 2]
    assert world.alike([torch.ones(2), torch.zeros(1)])
    assert not world.alike([torch.ones(2), torch.full((1,), float(world.rank))])


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda:0", marks=[pytest.mark.gpu, two_gpus])])
def test_two_processes_make_of_their_shares_what_one_makes_of_the_whole(device: str, tmp_path: Path) -> None:
    work_together(talk, 2, device, lambda _: None, tmp_path / "log.txt")  # which raises what either raises
