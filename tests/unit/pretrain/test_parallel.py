"""Two processes train as one does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vader_bench.pretrain import parallel
from vader_bench.pretrain.fit import fit
from vader_bench.pretrain.parallel import average_gradients, is_first, own_share


def train(work: Path, out: Path) -> None:
    """Fit a line by batches of four and keep the weights of every process."""
    module = nn.Linear(3, 1)
    nn.init.constant_(module.weight, 0.5)
    nn.init.zeros_(module.bias)

    def loss(step: int) -> Tensor:
        inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        wanted = inputs.sum(1, keepdim=True)
        error: Tensor = module(inputs[own_share()]) - wanted[own_share()]
        return error.square().mean()

    fit("line", module, loss, work, steps=5, learning_rate=0.1, warmup=1)
    save_file(module.state_dict(), out / f"{'first' if is_first() else 'other'}.safetensors")


def test_one_process_has_the_whole_batch_and_its_own_gradients() -> None:
    assert list(range(5))[own_share()] == [0, 1, 2, 3, 4]
    assert is_first()
    module = nn.Linear(1, 1)
    module.weight.grad = torch.ones(1, 1)
    average_gradients(module)
    assert module.weight.grad.item() == 1


def note(place: Path) -> None:
    """Write down which process this is, and whether it knows that it is one of many."""
    place.write_text(f"{os.getpid()} {parallel.is_one_of_many()} {torch.get_num_threads()}", "utf-8")


def fail(place: Path) -> None:
    """Fail at the second place."""
    if place.name == "1":
        raise ValueError("no")
    note(place)


@pytest.mark.slow
def test_tasks_are_spread_over_processes_of_one_thread(tmp_path: Path) -> None:
    places = [tmp_path / str(i) for i in range(4)]
    parallel.spread(note, 2, places)
    found = [place.read_text("utf-8").split() for place in places]
    assert {(many, threads) for _, many, threads in found} == {("True", "1")}
    assert 1 <= len({process for process, _, _ in found} - {str(os.getpid())}) <= 2
    assert not parallel.is_one_of_many()


@pytest.mark.slow
def test_a_task_that_fails_ends_them_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"):
        parallel.spread(fail, 1, [tmp_path / str(i) for i in range(20)])
    assert not (tmp_path / "19").exists()


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together):
        folder.mkdir()
    train(alone, alone)
    parallel.run(train, 2, together, together)
    one = load_file(alone / "first.safetensors")
    for name in ("first", "other"):
        found = load_file(together / f"{name}.safetensors")
        for key, value in one.items():
            torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-6)
    assert not torch.equal(one["weight"], torch.full((1, 3), 0.5))
