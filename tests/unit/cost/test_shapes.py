"""What is looked up on ``meta`` is what PyTorch works out there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vader_bench.cost import shapes
from vader_bench.cost.shapes import run_on_meta

ATEN: Any = torch.ops.aten


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "_KNOWN", {})
    monkeypatch.setattr(shapes, "_RUN", set())


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def forms(result: Any) -> list[Any]:
    parts = result if isinstance(result, (tuple, list)) else (result,)
    return [part if part is None else (part.shape, part.stride(), part.dtype, part.device) for part in parts]


def norm_backward(mask: list[bool]) -> tuple[Any, ...]:
    moments, weight = meta(2, 4), meta(8)
    return (meta(2, 8, 3), meta(2, 8, 3), moments, moments, weight, 2, 8, 3, 4, mask)


CALLS: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (ATEN.native_group_norm.default, (meta(2, 8, 3), meta(8), meta(8), 2, 8, 3, 4, 1e-5), {}),
    (ATEN.native_group_norm.default, (meta(2, 8, 3, dtype=torch.bfloat16), None, None, 2, 8, 3, 4, 1e-5), {}),
    (ATEN.native_group_norm_backward.default, norm_backward([True, True, True]), {}),
    (ATEN.native_group_norm_backward.default, norm_backward([True, False, False]), {}),
    (ATEN.native_layer_norm.default, (meta(2, 3, 8), [8], meta(8), meta(8), 1e-5), {}),
    (ATEN.convolution.default, (meta(1, 2, 6, 6), meta(4, 2, 3, 3), None, [1, 1], [1, 1], [1, 1], False,
                                [0, 0], 1), {}),
    (ATEN.add.Tensor, (meta(2, 3).t(), meta(3, 1)), {}),
    (ATEN.add.Tensor, (meta(2, 3), meta(3)), {"alpha": 2}),
    (ATEN._to_copy.default, (meta(2, 3),), {"dtype": torch.float16}),
    (ATEN.clone.default, (meta(2, 3).t(),), {"memory_format": torch.contiguous_format}),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_a_known_result_has_the_form_of_the_one_before(number: int) -> None:
    func, args, kwargs = CALLS[number]
    first = run_on_meta(func, args, kwargs)
    assert len(shapes._KNOWN) == 1
    again = run_on_meta(func, args, kwargs)
    assert len(shapes._KNOWN) == 1
    assert type(again) is type(first)
    assert forms(again) == forms(first) == forms(func(*args, **kwargs))
    fresh = [part for part in (again if isinstance(again, tuple) else (again,)) if part is not None]
    assert len({part.untyped_storage()._cdata for part in fresh}) == len(fresh)


def test_another_type_or_order_or_number_is_another_call() -> None:
    whole, half = meta(2, 3, dtype=torch.long), meta(2, 3, dtype=torch.float16)
    for args in ((whole, 1), (whole, 1.0), (half, 1), (half.t(), 1), (whole, True)):
        assert forms(run_on_meta(ATEN.add.Scalar, args, {})) == forms(ATEN.add.Scalar(*args))
    assert len(shapes._KNOWN) == 5


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (ATEN.view.default, (meta(2, 3), [6])),
        (ATEN._unsafe_view.default, (meta(2, 3), [6])),
        (ATEN.split.Tensor, (meta(2, 3), 1)),
        (ATEN.add_.Tensor, (meta(2, 3), meta(3))),
    ],
)
def test_views_and_changes_are_made_again(func: Any, args: tuple[Any, ...]) -> None:
    for _ in range(2):
        result = run_on_meta(func, args, {})
        part = result[0] if isinstance(result, (list, tuple)) else result
        assert part.untyped_storage()._cdata == args[0].untyped_storage()._cdata
    assert not shapes._KNOWN


def test_what_has_values_is_computed() -> None:
    for value in (1.0, 2.0):
        assert run_on_meta(ATEN.add.Tensor, (torch.tensor(value), torch.tensor(1.0)), {}) == value + 1
    assert run_on_meta(ATEN.arange.start, (0, 3), {"device": torch.device("cpu")}).tolist() == [0, 1, 2]
    assert not shapes._KNOWN
