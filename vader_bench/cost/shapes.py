"""What operations return on the device ``meta``, looked up where it is known already.

There a result is a shape, which follows from the shapes that go in. PyTorch works that of a normalisation out
in Python, step by step, in milliseconds; a network has hundreds of layers of a few shapes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from vader_bench.budget.memory import tensors_in

__all__ = ["run_on_meta"]

_Form: TypeAlias = tuple[torch.Size, tuple[int, ...], torch.dtype]
"""Shape, strides and type of a tensor."""
_PLAIN = (bool, int, float, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)
_KNOWN: dict[Hashable, tuple[_Form | None, ...] | _Form] = {}
_RUN: set[Any] = set()
"""Operators that change what they are given, or return views of it."""
_EMPTY: Any = torch.ops.aten.empty_strided.default


class _UnknownError(Exception):
    """An argument that says more than a shape, or something else than a new tensor as result."""


def run_on_meta(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return what the operator ``func`` of PyTorch returns, as a new tensor of the same form if it is known.

    What changes its arguments, returns views of them, or has a tensor of another device is run.
    """
    if func in _RUN:
        return func(*args, **kwargs)
    try:
        key = _key(func, args, kwargs)
    except _UnknownError:
        return func(*args, **kwargs)
    if key in _KNOWN:
        return _made(_KNOWN[key])
    result = func(*args, **kwargs)
    storages = {tensor.untyped_storage()._cdata for tensor in tensors_in((args, kwargs))}  # noqa: SLF001 - its identity
    try:
        _KNOWN[key] = _forms(result, storages)
    except _UnknownError:
        _RUN.add(func)
    return result


def _key(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Hashable:
    schema = func._schema  # noqa: SLF001 - has no public name
    if schema.is_mutable or any(argument.alias_info for argument in schema.arguments):
        _RUN.add(func)
        raise _UnknownError
    given = (func, tuple(map(_said, args)), tuple((name, _said(value)) for name, value in kwargs.items()))
    if next(tensors_in((args, kwargs)), None) is None:
        raise _UnknownError
    return given


def _said(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        if value.device.type != "meta":
            raise _UnknownError
        return _form(value)
    if isinstance(value, (list, tuple)):
        return tuple(map(_said, value))
    if isinstance(value, _PLAIN):
        return type(value), value  # 1, 1.0 and True are equal
    raise _UnknownError


def _form(tensor: Tensor) -> _Form:
    return tensor.shape, tensor.stride(), tensor.dtype


def _forms(result: Any, storages: set[int]) -> tuple[_Form | None, ...] | _Form:
    """Return the forms of ``result``, of which no tensor lies in ``storages`` or beside another."""
    parts = result if type(result) is tuple else (result,)
    tensors = [part for part in parts if part is not None]
    for tensor in tensors:
        whole = type(tensor) is Tensor and tensor.is_meta and tensor.storage_offset() == 0
        if not whole or tensor.untyped_storage()._cdata in storages:  # noqa: SLF001 - its identity
            raise _UnknownError
        storages.add(tensor.untyped_storage()._cdata)  # noqa: SLF001 - as above
    forms = tuple(None if part is None else _form(part) for part in parts)
    only = forms[0]
    return forms if type(result) is tuple or only is None else only


def _made(forms: tuple[_Form | None, ...] | _Form) -> Any:
    if isinstance(forms[0], torch.Size):
        return _new(forms)
    return tuple(None if form is None else _new(form) for form in forms)


def _new(form: Any) -> Tensor:
    shape, strides, dtype = form
    made: Tensor = _EMPTY(shape, strides, dtype=dtype, device="meta")
    return made
