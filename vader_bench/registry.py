"""Names to factories, with an error that lists the known names."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Generic, TypeVar

from vader_bench.errors import UserError

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """A closed table from a user-visible name to whatever makes the thing.

    Args:
        noun: what the entries are, for messages: ``"reward"``, ``"method"``.
    """

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under ``name``; a name is taken once."""

        def decorate(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.noun} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return decorate

    def get(self, name: str) -> T:
        """Return the entry called ``name``.

        Raises:
            UserError: no such entry; the message names the nearest one and all others.
        """
        if name in self._entries:
            return self._entries[name]
        near = difflib.get_close_matches(name, self._entries, n=1)
        guess = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(self.names())
        raise UserError(f"{self.noun} {name!r}", "is not known", f"{guess}choose one of: {known}")

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._entries)
