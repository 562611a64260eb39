from __future__ import annotations

import pytest

from vader_bench.cost.estimate import RESERVE
from vader_bench.cost.gpus import DEFAULT_GPU, GPUS, find_gpu
from vader_bench.errors import UserError


def test_the_default_is_a_card_of_16_gb() -> None:
    assert 16e9 < find_gpu(DEFAULT_GPU).memory < 16 * 2**30


CAPACITY = {"t4": 14.56, "l4": 22.03, "l40s": 44.39, "a100-80": 79.15}
"""GiB that PyTorch's messages name as the total capacity of a card ("GPU 0 has a total capacity of ...")."""
CONTEXT = 0.5
"""GiB that a CUDA context with PyTorch's kernels takes, about."""


@pytest.mark.parametrize("name", sorted(CAPACITY))
def test_what_fits_is_no_more_than_what_pytorch_finds(name: str) -> None:
    assert (GPUS[name].memory - RESERVE) / 2**30 <= CAPACITY[name] - CONTEXT


@pytest.mark.parametrize("name", sorted(GPUS))
def test_half_precision_is_never_slower_than_float32(name: str) -> None:
    card = GPUS[name]
    assert 1e12 < card.rate("fp32") <= card.rate("bf16") <= card.rate("fp16") < 1e15


def test_an_unknown_card_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"gpu 'h10': is not in the table; did you mean 'h100'"):
        find_gpu("h10")
