"""Settings of a file as arguments of what they are for: held against the types in its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, get_type_hints

from pydantic import PydanticUserError

from vader_bench.config.yamlfile import Fault, value_faults

__all__ = ["argument_faults"]

_UNTOLD = (AttributeError, NameError, PydanticUserError, SyntaxError, TypeError)
"""What a type ends in that is imported for type checkers alone, or that pydantic does not know."""


def argument_faults(function: Callable[..., object], settings: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield which of ``settings`` are not of the type that ``function`` takes, by their keys.

    Names are not looked at: a setting that ``function`` does not take is passed over, and so is one whose
    type it does not tell.

    Args:
        function: what is called with the settings: a function, or a class.
        settings: as a file has them.
    """
    parameters = inspect.signature(function).parameters
    rest = next((each for each in parameters.values() if each.kind is each.VAR_KEYWORD), None)
    for name, value in settings.items():
        parameter = parameters.get(name, rest)
        if parameter is None or (value is None and parameter.default is None):
            continue  # None is the default of many whose type leaves it out
        for fault in _faults(function, parameter.annotation, value):
            yield fault._replace(key=f"{name}.{fault.key}" if fault.key else name)


def _faults(function: Callable[..., object], annotation: Any, value: Any) -> list[Fault]:
    """Return what keeps ``value`` from being of the type that ``annotation`` in ``function`` stands for."""
    if annotation is inspect.Parameter.empty:
        return []
    written: Any = getattr(function, "__init__", None) if isinstance(function, type) else function
    written = inspect.unwrap(getattr(written, "__func__", written))
    alone = SimpleNamespace(__annotations__={"it": annotation})  # another one may be nothing that can be told
    try:
        hints = get_type_hints(alone, getattr(written, "__globals__", {}), include_extras=True)
        return value_faults(hints["it"], value)
    except _UNTOLD:
        return []
