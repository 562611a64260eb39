from __future__ import annotations

import pytest

from vader_bench.cost.gpus import DEFAULT_GPU, GPUS, find_gpu
from vader_bench.errors import UserError


def test_the_default_is_a_card_of_16_gib() -> None:
    assert find_gpu(DEFAULT_GPU).memory == 16 * 2**30


@pytest.mark.parametrize("name", sorted(GPUS))
def test_half_precision_is_never_slower_than_float32(name: str) -> None:
    card = GPUS[name]
    assert 1e12 < card.rate("fp32") <= card.rate("bf16") <= card.rate("fp16") < 1e15


def test_an_unknown_card_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"gpu 'h10': is not in the table; did you mean 'h100'"):
        find_gpu("h10")
