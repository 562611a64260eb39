"""YAML files as typed objects, with all faults of a file told at once."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from vader_bench import files
from vader_bench.errors import UserError

__all__ = [
    "AtFaultError", "Fault", "nearest", "parse", "parse_partly", "raise_faults", "read_mapping", "rule",
]  # fmt: skip

Model = TypeVar("Model", bound=BaseModel)


class Fault(NamedTuple):
    """One thing that is wrong in a file."""

    key: str
    """Where: keys joined by dots; empty for the whole file."""
    wrong: str
    remedy: str


class AtFaultError(Exception):
    """Asked for is a value that is missing or at fault in its file, and was reported as such."""


def raise_faults(given: str, faults: Iterable[Fault | UserError]) -> None:
    """Raise one error that tells every fault of ``given`` on a line of its own; do nothing without any.

    Args:
        given: the file, put before each ``Fault``; a ``UserError`` says its own.
        faults: what is wrong; said twice, it is told once.

    Raises:
        UserError: ``given: key: what is wrong; remedy``, one line a fault.
    """
    errors = [fault if isinstance(fault, UserError) else _error(given, fault) for fault in faults]
    distinct = list({str(error): error for error in errors}.values())
    if not distinct:
        return
    last = distinct.pop()
    lines = [*map(str, distinct), last.given]
    raise UserError("\n".join(lines), last.wrong, last.remedy, exit_code=last.exit_code)


def read_mapping(path: Path) -> tuple[dict[str, Any], list[Fault]]:
    """Return the top-level mapping of the YAML file ``path``, and what is wrong with its keys and values.

    Beyond plain YAML, ``1e-3`` is a number, and a key given twice, a key that is not text, a number
    that is not finite and a value JSON does not know (a date) are faults.

    Raises:
        UserError: no such file, not UTF-8, not YAML, half a character, or no mapping at the top.
    """
    text = files.read_text(path)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        faults = list(_node_faults(node, ())) if node is not None else []
        data = loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        raise UserError(_marked(str(path), error), _problem(error), "mend the YAML syntax") from error
    if not isinstance(data, dict):
        raise UserError(str(path), "has no `key: value` lines at the top", "write some")
    return data, faults


def parse(model: type[Model], data: Mapping[str, Any]) -> tuple[Model | None, list[Fault]]:
    """Return ``data`` as ``model``, or ``None`` and every fault; types are taken strictly."""
    try:
        # through JSON, where a list may fill a tuple although types are strict
        return model.model_validate_json(json.dumps(data, default=str), strict=True), []
    except ValidationError as error:
        details = error.errors(include_url=False)
        return None, [_told(model, detail) for detail in details]


def parse_partly(model: type[Model], data: Mapping[str, Any]) -> tuple[Model, list[Fault]]:
    """Return ``data`` as ``model`` as far as it is right, and every fault.

    What is at fault, or missing, is left out of the model and of the tables in it. Asking a ``Strict`` one
    for it raises ``AtFaultError``, so that a check of what depends on it can be given up.
    """
    whole, faults = parse(model, data)
    return (whole if whole is not None else _right_part(model, data)), faults


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the advice for an unknown ``word``: the nearest known one, then all."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return f"{guess}choose one of: {', '.join(known)}" if known else "delete it"


def rule(wrong: str, remedy: str) -> PydanticCustomError:
    """Return the error a validator raises, so that ``parse`` tells ``wrong`` and ``remedy`` as they are."""
    return PydanticCustomError("rule", "{wrong}; {remedy}", {"wrong": wrong, "remedy": remedy})


_NOTHING = object()


def _right_part(model: type[Model], data: Any) -> Model:
    """Return ``model`` with what is right of ``data``, and the defaults of what that leaves out."""
    given = data if isinstance(data, dict) else {}
    found = model.model_construct(**{key: given[key] for key in given.keys() - model.model_fields.keys()})
    wrong = _wrong_fields(model, data)
    for name, field in model.model_fields.items():
        kind = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        part = found.__dict__.pop(name, _NOTHING)
        if name in given:
            part = _right(kind, given[name])
        if part is not _NOTHING and name not in wrong:
            found.__dict__[name] = part
    return found


def _wrong_fields(model: type[BaseModel], data: Any) -> set[str]:
    """Return the fields of ``model`` that ``data`` lacks or that are at fault as a whole."""
    if not isinstance(data, dict):
        return set(model.model_fields)
    try:
        model.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        return {
            str(detail["loc"][0]) for detail in error.errors(include_url=False) if len(detail["loc"]) == 1
        }
    return set()


def _right(kind: Any, value: Any) -> Any:
    """Return what is right of ``value``, which is to be of type ``kind``; perhaps ``_NOTHING``."""
    try:
        return TypeAdapter(kind).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError:
        kind = _plain(kind)
        if _is_table(kind):
            return _right_part(kind, value)
        if isinstance(value, dict) and get_origin(kind) is dict and _is_table(get_args(kind)[1]):
            return {key: _right(get_args(kind)[1], item) for key, item in value.items()}
        return _NOTHING


_SURROGATE = re.compile(r"[\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    """The safe loader that also takes ``1e-3`` for a number, as YAML 1.2 does, and no half characters."""

    def compose_scalar_node(self, anchor: dict[Any, yaml.Node]) -> yaml.ScalarNode:
        """Refuse what an escape such as U+D800 becomes: no file can hold it."""
        node = super().compose_scalar_node(anchor)
        assert node is not None
        if half := _SURROGATE.search(node.value):
            raise yaml.MarkedYAMLError(problem=f"half a character, {half[0]!r}", problem_mark=node.start_mark)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)

_DEEPEST = 50
_TAG = "tag:yaml.org,2002:"
_PLAIN = {_TAG + name for name in ("null", "bool", "int", "float", "str", "seq", "map")}


def _node_faults(node: yaml.Node, path: tuple[str, ...]) -> Iterator[Fault]:
    """Yield what is wrong at and below ``node``, which lies at ``path``."""
    if len(path) > _DEEPEST:
        raise yaml.MarkedYAMLError(problem="a value is nested too deep", problem_mark=node.start_mark)
    key = ".".join(path)
    if node.tag not in _PLAIN:
        yield Fault(key, f"is a {node.tag.rpartition(':')[2]} (line {_line(node)})", "put it in quotes")
    elif node.tag == _TAG + "float" and re.fullmatch(r"[-+]?\.(inf|nan)", node.value, re.IGNORECASE):
        yield Fault(key, f"is {node.value}, not a finite number", "write a finite number")
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _node_faults(item, (*path, str(index)))
    if isinstance(node, yaml.MappingNode):
        yield from _mapping_faults(node, path)


def _mapping_faults(node: yaml.MappingNode, path: tuple[str, ...]) -> Iterator[Fault]:
    seen = set()
    for key_node, value_node in node.value:
        name = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        here = (*path, name)
        if key_node.tag != _TAG + "str":
            wrong = f"is not a text key (line {_line(key_node)})"
            yield Fault(".".join(here), wrong, "put the key in quotes, or write out what `<<` would merge")
        elif name in seen:
            yield Fault(".".join(here), f"is given again (line {_line(key_node)})", "keep one of the two")
        seen.add(name)
        yield from _node_faults(value_node, here)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _marked(given: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{given}: line {mark.line + 1}, column {mark.column + 1}" if mark is not None else given


def _problem(error: yaml.YAMLError) -> str:
    return f"is not YAML ({getattr(error, 'problem', None) or getattr(error, 'reason', 'unreadable')})"


_WANTED = {
    "bool_type": "true or false",
    "dict_type": "`key: value` lines",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "`key: value` lines",
    "string_type": "text",
    "tuple_type": "a list",
}  # fmt: skip

_BOUNDS = {
    "greater_than": ("gt", "must be above"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be below"),
    "less_than_equal": ("le", "must be at most"),
}


def _told(model: type[BaseModel], detail: ErrorDetails) -> Fault:
    """Return the fault that pydantic's ``detail`` describes, in the words of this project."""
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    loc = tuple(part for part in map(str, detail["loc"]) if part != "[key]")
    key = ".".join(loc)
    if kind == "extra_forbidden":
        table = _table_at(model, loc[:-1])
        wrong = getattr(table, "unknown_key", "is not a known key")
        return Fault(key, wrong, nearest(loc[-1], table.model_fields if table is not None else []))
    if kind == "missing":
        return Fault(key, "is missing", "add it")
    if kind == "rule":
        return Fault(key, context["wrong"], context["remedy"])
    if kind in _WANTED:
        return Fault(key, f"is {given!r}, not {_WANTED[kind]}", f"write {_WANTED[kind]}")
    if kind == "string_pattern_mismatch":
        return Fault(key, f"is {given!r}", "use letters, digits, '.', '_' and '-' only")
    if kind == "too_short":
        return Fault(key, "is empty", "give at least one")
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return Fault(key, f"is {given!r}", f"it {words} {context[name]}")
    if kind == "literal_error":
        return Fault(key, f"is {given!r}", f"it must be {context['expected']}")
    return Fault(key, f"is {given!r}: {detail['msg']}", "change the value")


def _table_at(model: type[BaseModel], loc: Iterable[str]) -> type[BaseModel] | None:
    """Return the type of the table at ``loc`` of ``model``."""
    kind: Any = model
    for part in loc:
        kind = _inside(kind, part)
    kind = _plain(kind)
    return kind if _is_table(kind) else None


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inside(kind: Any, part: str) -> Any:
    """Return the type of the value at key or index ``part`` of a value of type ``kind``."""
    kind = _plain(kind)
    if _is_table(kind):
        return kind.model_fields[part].annotation
    return get_args(kind)[-1]


def _plain(kind: Any) -> Any:
    """Return ``kind`` without ``Annotated`` and ``| None``."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        return _plain(next(option for option in get_args(kind) if option is not type(None)))
    return kind


def _error(given: str, fault: Fault) -> UserError:
    place = f"{given}: {fault.key}" if fault.key else given
    return UserError(place, fault.wrong, fault.remedy)
