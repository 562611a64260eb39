"""Settings are held against the types in the signature of what they are for, as far as it has any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from torch import Tensor

from vader_bench.config.arguments import argument_faults

if TYPE_CHECKING:
    from fractions import Fraction as Unknown  # which is not there at run time


class _Plain:
    def __init__(self, scale: float = 1.0, name: str = None, other: Unknown = 1) -> None:  # type: ignore[assignment]  # noqa: RUF013 - as users write
        del scale, name, other

    @classmethod
    def load(cls, sizes: tuple[int, int], table: Mapping[str, float] | None = None) -> Unknown:
        raise NotImplementedError(sizes, table)

    def method(self, **settings: int) -> None:
        del settings


def _function(path: Path, either: int | bool, tensor: Tensor, **rest: object) -> None:
    del path, either, tensor, rest


def _several(some: int | list[int]) -> None:
    del some


@pytest.mark.parametrize(
    ("function", "settings"),
    [
        (_Plain, {"scale": 3, "name": None, "other": []}),
        (_Plain, {"scale": 2.5, "name": "a", "unknown": 1}),
        (_Plain.load, {"sizes": [1, 2], "table": {"a": 1}}),
        (_Plain().method, {"a": 1}),
        (_function, {"path": "./x", "either": True, "tensor": "x", "more": {}}),
        (lambda **settings: settings, {"a": 1}),
    ],
)  # fmt: skip
def test_what_fits_is_no_fault(function: Callable[..., object], settings: dict[str, Any]) -> None:
    assert list(argument_faults(function, settings)) == []


@pytest.mark.parametrize(
    ("function", "settings", "told"),
    [
        (_Plain, {"scale": "3"}, "scale is '3', not a number; write a number"),
        (_Plain, {"scale": None}, "scale is None, not a number; write a number"),
        (_Plain, {"name": 3}, "name is 3, not text; write text"),
        (_Plain.load, {"sizes": 3}, "sizes is 3, not a list; write a list"),
        (_Plain.load, {"sizes": [1, 2.5]}, "sizes.1 is 2.5, not a whole number; write a whole number"),
        (_Plain.load, {"table": {"a": True}}, "table.a is True, not a number; write a number"),
        (_Plain().method, {"any": "x"}, "any is 'x', not a whole number; write a whole number"),
        (_function, {"path": 3}, "path is 3, not text; write text"),
        (_function, {"either": "x"}, "either is 'x', not a whole number or true or false; write {}"),
        (_several, {"some": ["x"]}, "some is ['x'], which is nothing that it takes; write a whole number"),
    ],
)
def test_another_type_is_one(function: Callable[..., object], settings: dict[str, Any], told: str) -> None:
    [fault] = argument_faults(function, settings)
    wanted = told.replace("{}", "a whole number or true or false")
    assert f"{fault.key} {fault.wrong}; {fault.remedy}" == wanted
