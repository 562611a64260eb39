"""Paths as people write them in files and in the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, PrivateAttr, SerializerFunctionWrapHandler, model_serializer

from vader_bench.errors import UserError
from vader_bench.registry import own_code

__all__ = [
    "FILE_ENDINGS", "RecordedAsWritten", "WrittenPaths", "expanded", "is_address", "is_file", "is_folder",
    "is_there", "located", "names_file", "replaced", "texts", "weight_names",
]  # fmt: skip

FILE_ENDINGS = (".txt", ".jsonl", ".yaml", ".yml")
"""Endings of files that stand for a suite or a prompt set in place of a packaged name."""


def expanded(path: str) -> Path:
    """Return ``path`` with ``~`` and ``$VARIABLE`` replaced, as a shell would; what is not set stays.

    Variables of the environment reach a program as they were written where no shell has read them: in files
    of services, containers and editors.
    """
    return Path(os.path.expandvars(os.path.expanduser(path)))  # noqa: PTH111 - Path's raises for no user


def is_file(path: Path) -> bool:
    """Return whether ``path`` is a file; unlike ``Path.is_file``, also of a name that no disk takes."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Return whether ``path`` is a folder; unlike ``Path.is_dir``, also of a name that no disk takes."""
    return os.path.isdir(path)  # noqa: PTH112


def is_there(path: str) -> bool:
    """Return whether ``path``, or the file of ``FILE.py:NAME``, is a file or a folder."""
    own = own_code(path)
    place = Path(path) if own is None else own.file
    return is_file(place) or is_folder(place)


class WrittenPaths:
    """Makes paths of a file's words, relative to its folder, and remembers how they were written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.written: dict[str, str] = {}
        """By path what the file says; the user's own folder is ``~`` there."""

    def at(self, name: str) -> str:
        """Return ``name`` if it is packaged, else its path."""
        if name in self.written:  # a path already
            return name
        path = located(name, self._folder)
        if path != name or Path(name).is_absolute():
            self.written[path] = _without_home(name)
        return path

    def code(self, name: str) -> str:
        """Return ``name`` with the path of its file if it has the form ``FILE.py:NAME``, else as it is."""
        own = own_code(name)
        if own is None or name in self.written:
            return name
        path = f"{os.path.normpath(self._folder.absolute() / expanded(str(own.file)))}:{own.name}"
        self.written[path] = _without_home(name)
        return path

    def weights(self, name: str) -> str:
        """Return ``name`` if it has no slash, is packaged, on the hub or an address, else its path."""
        path = "/" in name and not name.startswith(("hf:", "pocket/")) and not is_address(name)
        return self.at(name) if path else name


class RecordedAsWritten(BaseModel):
    """A table that has the paths of a file, and is recorded as the file writes them.

    So a record names no folder of a user, and a project may be moved.
    """

    _written: dict[str, str] = PrivateAttr(default={})

    def with_written(self, written: Mapping[str, str]) -> Self:
        """Return a copy, given how the file writes each path."""
        copy = self.model_copy()
        copy._written = dict(written)  # noqa: SLF001 - its own
        return copy

    @property
    def paths(self) -> Mapping[str, str]:
        """How the file writes each path."""
        return self._written

    @property
    def places(self) -> dict[str, str]:
        """The paths by what the file writes, where that does not say it itself and stands for one alone."""
        found: dict[str, list[str]] = {}
        for path, written in self._written.items():
            found.setdefault(written, []).append(path)
        return {
            written: path
            for written, (path, *others) in found.items()
            if path != written and not others and not written.startswith("~/")
        }

    def written(self, name: str) -> str:
        """Return how the file writes ``name``, a path or a packaged name."""
        return self._written.get(name, name)

    def reworded(self, error: UserError) -> UserError:
        """Return ``error`` about a path as one about what the file says."""
        given = error.given
        for path, written in self._written.items():
            given = given.replace(repr(path), repr(written))
        return UserError(given, error.wrong, error.remedy, exit_code=error.exit_code)

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        return replaced(data, self.written) if self._written else data


def replaced(value: Any, change: Callable[[str], str]) -> Any:
    """Return ``value`` with every text in its lists and tables, keys aside, changed by ``change``."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: replaced(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [replaced(inner, change) for inner in value]
    return value


def texts(value: Any) -> Iterator[str]:
    """Yield every text in lists and tables of ``value``, keys aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


def is_address(value: str) -> bool:
    """Return whether ``value`` is an address of a server, which names no weights."""
    return value.startswith(("http://", "https://"))


def weight_names(value: Any) -> Iterator[str]:
    """Return the texts in a table of settings that name weights: those with a slash, no addresses."""
    return (text for text in texts(value) if "/" in text and not is_address(text))


def _without_home(path: str) -> str:
    home, plain = str(expanded("~")), os.path.normpath(path)
    return "~" + plain[len(home) :] if len(home) > 1 and plain.startswith(home + os.sep) else path


def names_file(name: str) -> bool:
    """Return whether ``name`` in a file is a path, and not a packaged name."""
    return "/" in name or name.startswith("~") or Path(name).suffix in FILE_ENDINGS


def located(name: str, folder: Path) -> str:
    """Return ``name`` where it is a packaged name, else its path, which is relative to ``folder``."""
    if not names_file(name):
        return name
    return os.path.normpath(folder.absolute() / expanded(name))
