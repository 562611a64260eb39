"""From names to the code behind them: of the project, of installed packages, and of a user's files."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Generic, NamedTuple, TypeVar, cast

from vader_bench.errors import UserError

__all__ = [
    "OWN_CODE", "OwnCode", "Registry", "late_names", "load_entry", "load_own", "no_such_name", "offered",
    "own_code", "own_digest", "package_of", "require_python",
]  # fmt: skip

T = TypeVar("T")

OWN_CODE = r".+\.py:[A-Za-z_][A-Za-z0-9_]*"
"""Pattern of ``FILE.py:NAME``."""
_MODULES: dict[str, ModuleType] = {}
"""Files that were run in this process, by the module's name, which stands for path and bytes."""
_DIGESTS: dict[str, str] = {}
"""SHA-256 of their bytes, as they were run."""


class OwnCode(NamedTuple):
    """A name in a Python file of the user's, as ``FILE.py:NAME`` in YAML."""

    file: Path
    name: str


def own_code(text: str) -> OwnCode | None:
    """Return what ``text`` names if it has the form ``FILE.py:NAME``, else ``None``."""
    file, _, name = text.rpartition(":")
    return OwnCode(Path(file), name) if re.fullmatch(OWN_CODE, text) else None


class Registry(Generic[T]):
    """From a user-visible name to what makes the thing, which is imported when it is asked for.

    A name stands in the table, or is that of an entry point of an installed package, or is ``FILE.py:NAME``.
    A name that the project has itself is the project's.

    Args:
        noun: what the entries are, for messages: ``"reward"``, ``"method"``.
        table: the project's own, ``"module:Class"`` by name.
        group: entry points of installed packages that add to the table.
        refusal: returns what is wrong with what was found under a name, e.g. ``"is no Method"``; empty where
            nothing is.
        instances: whether an entry is an instance of the class that is found.
    """

    def __init__(
        self,
        noun: str,
        table: Mapping[str, str],
        group: str,
        refusal: Callable[[object], str],
        *,
        instances: bool = False,
    ) -> None:
        self.noun = noun
        self.table = table
        self.group = group
        self._refusal = refusal
        self._instances = instances
        self._loaded: dict[str, T] = {}

    def get(self, name: str) -> T:
        """Return the entry called ``name``.

        Raises:
            UserError: no such entry; the message names the nearest one and all others. Or what a package or a
                file offers cannot be used: it is missing, fails when it is imported, or is something else.
        """
        if own := own_code(name):
            return self._found(f"{self.noun} {name!r}", _named(self.noun, *own))
        if name in self._loaded:
            return self._loaded[name]
        packages = offered(self.group)
        if name in self.table:
            module, _, attribute = self.table[name].partition(":")
            self._loaded[name] = self._entry(getattr(import_module(module), attribute))
        elif name in packages:
            given = f"{self.noun} {name!r} of package {package_of(packages[name])}"
            self._loaded[name] = self._found(given, load_entry(self.noun, packages[name]))
        else:
            near = difflib.get_close_matches(name, self.names(), n=1)
            guess = f"did you mean {near[0]!r}? " if near else ""
            known = ", ".join(self.names())
            raise UserError(f"{self.noun} {name!r}", "is not known", f"{guess}choose one of: {known}")
        return self._loaded[name]

    def names(self) -> list[str]:
        """Return all names but those of files, sorted; nothing is imported for it."""
        return sorted(self.table.keys() | offered(self.group).keys())

    def _found(self, given: str, found: object) -> T:
        """Return what was ``found`` in code of others as an entry."""
        wrong = self._refusal(found)
        if not wrong and isinstance(found, type) and inspect.isabstract(found):
            wrong = f"leaves out {', '.join(sorted(getattr(found, '__abstractmethods__', ())))}"
        if wrong:
            raise UserError(given, wrong, f"see how the project's own {self.noun}s are written")
        return self._entry(found)

    def _entry(self, found: object) -> T:
        return cast("T", cast("Callable[[], object]", found)() if self._instances else found)


def late_names(package: str, names: Collection[str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a ``package`` that offers ``names`` of its module ``base``.

    They are imported when they are asked for, so that a table of names is read without torch.
    """

    def found(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.base"), name)

    return found


def offered(group: str) -> Mapping[str, EntryPoint]:
    """Return the entry points of installed packages in ``group``, by name."""
    return _offered(group, tuple(sys.path))


@cache
def _offered(group: str, path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    """Return them as long as packages are looked for in the folders of ``path``: all are read for it."""
    del path
    return {entry.name: entry for entry in entry_points(group=group)}


def package_of(entry: EntryPoint) -> str:
    """Return the name of the package that offers ``entry``."""
    return entry.dist.name if entry.dist else "(unknown)"


def load_entry(noun: str, entry: EntryPoint) -> object:
    """Return what an installed package offers by ``entry``.

    Raises:
        UserError: it cannot be imported.
    """
    try:
        return entry.load()
    except Exception as error:  # whatever code of others raises is a fault of theirs, in one line
        given = f"{noun} {entry.name!r} of package {package_of(entry)}"
        wrong = f"cannot be loaded from {entry.value} ({_told(error)})"
        raise UserError(given, wrong, "install the package again, or use another name") from error


def load_own(noun: str, file: Path) -> ModuleType:
    """Return the module in a user's Python file, which is run as it is; unchanged, it is run once a process.

    It is in ``sys.modules``, but under a name that only this process knows, and the files beside it cannot be
    imported from it.

    Args:
        noun: what is looked for in it, for messages.
        file: its path.

    Raises:
        UserError: there is no such Python file, or it fails.
    """
    require_python(noun, file)
    source, path = file.read_bytes(), file.absolute()
    digest = hashlib.sha256(source).hexdigest()
    name = f"vader_bench_own_{hashlib.sha256(f'{path}:{digest}'.encode()).hexdigest()[:16]}"
    if name not in _MODULES:
        module = module_from_spec(ModuleSpec(name, None, origin=str(path)))
        module.__file__ = str(path)
        sys.modules[name] = module  # where dataclasses and pydantic look for it
        try:
            # no loader: it would leave a __pycache__ beside the file, and take a stale one
            exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102
        except Exception as error:  # as above
            del sys.modules[name]
            wrong = f"fails when it is run ({_told(error, path)})"
            raise UserError(f"{noun}: {file}", wrong, f"correct the file; try `python {file}`") from error
        _MODULES[name], _DIGESTS[name] = module, digest
    return _MODULES[name]


def own_digest(thing: object) -> str:
    """Return the SHA-256 of the user's file that made ``thing``, as it was run; empty where none did."""
    return _DIGESTS.get(getattr(thing, "__module__", ""), "")


def require_python(noun: str, file: Path) -> None:
    """Refuse what is no Python file.

    Raises:
        UserError: it does not exist, or is something else.
    """
    if not os.path.isfile(file) or file.suffix != ".py":  # noqa: PTH113 - Path's fails for what no disk takes
        wrong = "is not a Python file" if os.path.exists(file) else "does not exist"  # noqa: PTH110
        raise UserError(f"{noun}: file {str(file)!r}", wrong, "give the path of a .py file")


def no_such_name(noun: str, file: Path, wanted: str, has: Iterable[str]) -> UserError:
    """Return the error of a file that lacks what is ``wanted``, ``"function 'f'"``, and ``has`` others."""
    public = ", ".join(sorted(each for each in has if each[0] != "_")) or "(it has none)"
    return UserError(f"{noun}: {file}", f"has no {wanted}", f"name one of: {public}")


def _named(noun: str, file: Path, name: str) -> object:
    """Return what is called ``name`` in a user's file."""
    module = load_own(noun, file)
    if not hasattr(module, name):
        classes = {key: value for key, value in vars(module).items() if isinstance(value, type)}
        here = [key for key, value in classes.items() if value.__module__ == module.__name__]
        raise no_such_name(noun, file, f"class {name!r}", here)
    return getattr(module, name)


def _told(error: Exception, path: Path | None = None) -> str:
    """Return the error in a line, with the last line of the file ``path`` on the way to it."""
    said = " ".join(str(error).split()) or "no message"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    place = f", line {lines[-1]}" if lines else ""
    return f"{type(error).__name__}: {said}{place}"
