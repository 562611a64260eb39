"""Names to factories, with an error that lists the known names."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from vader_bench.errors import UserError

__all__ = ["REWARD_PLUGINS", "Registry"]

REWARD_PLUGINS = "vader_bench.rewards"
"""Entry points by which an installed package offers rewards."""

T = TypeVar("T")


class Registry(Generic[T]):
    """A table from a user-visible name to whatever makes the thing.

    Args:
        noun: what the entries are, for messages: ``"reward"``, ``"method"``.
        group: entry points of installed packages that add to the table; each is loaded when it is asked
            for, and a name that the project has itself is the project's. ``None`` is a closed table.
    """

    def __init__(self, noun: str, group: str | None = None) -> None:
        self.noun = noun
        self._group = group
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
            UserError: no such entry; the message names the nearest one and all others. Or the package that
                offers it cannot be imported.
        """
        if name in self._entries:
            return self._entries[name]
        offered = self._offered()
        if name in offered:
            self._entries[name] = self._load(offered[name])
            return self._entries[name]
        near = difflib.get_close_matches(name, self.names(), n=1)
        guess = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(self.names())
        raise UserError(f"{self.noun} {name!r}", "is not known", f"{guess}choose one of: {known}")

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._entries.keys() | self._offered().keys())

    def _offered(self) -> dict[str, EntryPoint]:
        """Return what installed packages add, by name."""
        if self._group is None:
            return {}
        return {entry.name: entry for entry in entry_points(group=self._group)}

    def _load(self, entry: EntryPoint) -> T:
        given = f"{self.noun} {entry.name!r} of package {entry.dist.name if entry.dist else '(unknown)'}"
        try:
            loaded: T = entry.load()
        except (ImportError, AttributeError) as error:
            remedy = "install the package again, or use another name"
            raise UserError(given, f"cannot be loaded from {entry.value} ({error})", remedy) from error
        if not callable(loaded):
            raise UserError(given, f"{entry.value} cannot be called", "ask the package's authors")
        return loaded
