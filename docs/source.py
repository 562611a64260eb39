"""What the package's source says of itself, read without importing it, which takes half a minute."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "Metric", "Registered", "SettingField", "class_in", "docstring", "fields", "lineage", "metrics", "plain",
    "registered", "sentences", "settings_of_function",
]  # fmt: skip

PACKAGE = Path(__file__).parents[1] / "vader_bench"
_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "multiple_of": "a multiple of"}


class Registered(NamedTuple):
    """An entry of a registry: the name that files use, and the class behind it."""

    name: str
    path: Path
    cls: str


class SettingField(NamedTuple):
    """A key of a table in a file."""

    name: str
    kind: str
    default: str
    """As it is written; empty where the key must be given."""
    bounds: str
    text: str


class Metric(NamedTuple):
    """What a method logs at every step."""

    name: str
    text: str


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def registered(table: str) -> dict[str, Registered]:
    """Return what the package registers in ``table`` ("METHODS", ...), by name, sorted.

    It is in the table of its folder, ``"name": "module:Class"``.
    """
    text = (PACKAGE / table.lower() / "__init__.py").read_text("utf-8")
    return {
        name: Registered(name, PACKAGE.joinpath(*module.split(".")).with_suffix(".py"), cls)
        for name, module, cls in sorted(re.findall(r'"([\w.-]+)": "vader_bench\.([\w.]+):(\w+)"', text))
    }


def class_in(path: Path, name: str) -> ast.ClassDef:
    """Return the class ``name`` at the top of the module ``path``.

    Raises:
        LookupError: there is none.
    """
    for node in _tree(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    raise LookupError(f"{path} has no class {name}")


def docstring(path: Path, name: str) -> str:
    """Return what the class ``name`` in ``path`` says of itself; empty where it says nothing."""
    return ast.get_docstring(class_in(path, name)) or ""


def lineage(path: Path, name: str, top: str) -> list[tuple[Path, str]]:
    """Return the class ``name`` in ``path`` and what it extends, each with its module, without ``top``."""
    found = [(path, name)]
    for base in map(ast.unparse, class_in(path, name).bases):
        if base != top:
            found += lineage(_home(path, base), base, top)
    return found


def _home(path: Path, name: str) -> Path:
    """Return the module that the module ``path`` has the class ``name`` from.

    Raises:
        LookupError: it is not of this package.
    """
    for node in _tree(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return path
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return PACKAGE.parent.joinpath(*(node.module or "").split(".")).with_suffix(".py")
    raise LookupError(f"{path} has no class {name}")


def fields(path: Path, name: str) -> list[SettingField]:
    """Return the typed keys that the class ``name`` in ``path`` adds, with the text below each."""
    body = class_in(path, name).body
    found = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            key, kind = node.target.id, ast.unparse(node.annotation)
            if not key.startswith("_") and not kind.startswith("ClassVar"):
                text = ast.literal_eval(after.value) if _is_text(after) else ""  # type: ignore[union-attr]
                found.append(SettingField(key, _kind(kind), *_default(node.value), plain(text)))
    return found


def _is_text(node: ast.stmt | None) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _kind(annotation: str) -> str:
    """Return a type in words that a person who writes YAML knows."""
    annotation = re.sub(r"^Annotated\[(.*?), \w+\(.*\)\]$", r"\1", annotation)
    if annotation.startswith("Literal["):
        return " or ".join(f"`{choice}`" for choice in re.findall(r"'([^']+)'", annotation))
    words = {"int": "integer", "float": "number", "str": "text", "bool": "true or false", "Name": "name"}
    words["MethodName"] = "name"
    optional = annotation.removesuffix(" | None")
    if optional in words:
        return words[optional] + (" or null" if optional != annotation else "")
    mixed = re.fullmatch(r"(\w+) \| Literal\['([^']+)'\]", annotation)
    if mixed:
        return f"{words.get(mixed[1], mixed[1])} or `{mixed[2]}`"
    if annotation.startswith("dict["):
        return "table"
    if "list" in annotation.lower() or annotation == "Splits":
        return "list"
    table = "dict" in annotation or optional.startswith("Mapping")
    return "table" if table or optional.endswith(("Config", "Changes")) else annotation


def _default(value: ast.expr | None) -> tuple[str, str]:
    """Return the default as written, and the bounds, of what a field is set to."""
    if value is None:
        return "", ""
    if not (isinstance(value, ast.Call) and ast.unparse(value.func) == "Field"):
        return _written(value), ""
    given = {word.arg: word.value for word in value.keywords if word.arg}
    bounds = [f"{_SIGNS[name]} {ast.unparse(bound)}" for name, bound in given.items() if name in _SIGNS]
    default = _written(given["default"]) if "default" in given else ""
    return default, ", ".join(bounds)


def _written(value: ast.expr) -> str:
    """Return a default as YAML has it."""
    text = ast.unparse(value)
    if re.fullmatch(r"\w+\(\)", text):
        return "nothing in it"
    return {"True": "true", "False": "false", "None": "null"}.get(text, text.strip("'"))


def settings_of_function(path: Path, name: str) -> list[SettingField]:
    """Return the settings that the class ``name`` is made of, as ``Args`` explain them.

    They are what its class method ``load`` takes or, without one, its constructor, whose arguments the class
    itself explains.
    """
    node = class_in(path, name)
    methods = {method.name: method for method in node.body if isinstance(method, ast.FunctionDef)}
    explained: ast.ClassDef | ast.FunctionDef = methods.get("load", node)
    told = dict(_arguments(ast.get_docstring(explained) or ""))
    for maker in ("load", "__init__"):
        if maker in methods:
            arguments = methods[maker].args
            plain_ones = arguments.args[1:]
            lacking: list[ast.expr | None] = [None] * (len(plain_ones) - len(arguments.defaults))
            defaults = [*lacking, *arguments.defaults, *arguments.kw_defaults]
            return [
                SettingField(
                    argument.arg,
                    _kind(ast.unparse(argument.annotation)) if argument.annotation else "",
                    "" if default is None else _written(default),
                    "",
                    told.get(argument.arg, ""),
                )
                for argument, default in zip([*plain_ones, *arguments.kwonlyargs], defaults, strict=True)
            ]
    return []


def _arguments(text: str) -> Iterator[tuple[str, str]]:
    """Yield names and explanations of the section ``Args`` of a docstring."""
    section = re.search(r"^Args:\n(.*?)(?=^\w+:\n|\Z)", text, re.DOTALL | re.MULTILINE)
    if section:
        for entry in re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", section[1], re.DOTALL | re.MULTILINE):
            yield entry[0], plain(entry[1])


def metrics(path: Path, name: str) -> list[Metric]:
    """Return the rows of the table of metrics in the docstring of the class ``name``."""
    found = []
    for table in re.findall(r"=+ =+\n(.*?)\n=+ =+", docstring(path, name), re.DOTALL):
        for row in table.splitlines():
            metric, text = row.split(maxsplit=1)
            found.append(Metric(metric, plain(text)))
    return found


def sentences(text: str) -> str:
    """Return a docstring as Markdown up to its first section, without its table."""
    text = re.split(r"^\w+:\n    ", text, maxsplit=1, flags=re.MULTILINE)[0]
    return re.sub(r"::$", ":", text, flags=re.MULTILINE).replace("``", "`").strip()


def plain(text: str) -> str:
    """Return a text of the source as one line of Markdown that fits a cell of a table."""
    return " ".join(text.replace("``", "`").replace("`None`", "`null`").split()).replace("|", "\\|")
