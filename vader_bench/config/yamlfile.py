"""YAML files as typed objects, with all faults of a file reported at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from vader_bench import files
from vader_bench.config.faults import AtFaultError, Fault, raise_faults
from vader_bench.config.notation import Items, read_yaml
from vader_bench.errors import UserError, shown

__all__ = [
    "AtFaultError", "Fault", "dump_yaml", "nearest", "parse", "parse_partly", "raise_faults", "read_mapping",
    "rule", "value_faults",
]  # fmt: skip

Model = TypeVar("Model", bound=BaseModel)
Place = tuple[int | str, ...]
"""Keys and indices that lead to a value of a file."""

_LONG = 10
"""Items of a list in which they are counted no more to find one."""


class _Plain(yaml.SafeDumper):
    """Writes no references: ``&id001`` and ``*id001`` are nothing that people read."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 # so PyYAML calls it
        return True


def read_mapping(path: Path) -> tuple[dict[str, Any], list[Fault]]:
    """Return the top-level mapping of the YAML file ``path``, and what is wrong with its keys and values.

    See ``read_yaml`` for what is wrong beyond plain YAML.

    Raises:
        UserError: no such file, not UTF-8, not YAML, or no mapping at the top.
    """
    text = files.read_text(path)
    try:
        data, faults = read_yaml(text)
    except yaml.YAMLError as error:
        raise UserError(_marked(str(path), error), _problem(error), "correct the YAML syntax") from error
    if not isinstance(data, dict):
        raise UserError(str(path), "has no `key: value` lines at the top", "write some")
    return data, faults


def dump_yaml(table: Mapping[str, Any]) -> str:
    """Return ``table`` as YAML, its keys in order; what stands in it twice is written twice, for readers."""
    return yaml.dump(dict(table), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)


def parse(model: type[Model], data: Mapping[str, Any]) -> tuple[Model | None, list[Fault]]:
    """Return ``data`` as ``model``, or ``None`` and every fault; types are taken strictly."""
    try:
        # through JSON, where a list may fill a tuple although types are strict
        return model.model_validate_json(json.dumps(data, default=str), strict=True), []
    except ValidationError as error:
        return None, _reported(model, error, data)


def parse_partly(model: type[Model], data: Mapping[str, Any]) -> tuple[Model, list[Fault]]:
    """Return ``data`` as ``model`` as far as it is right, and every fault.

    What is at fault, or missing, is left out of the model and of the tables in it. Asking a ``Strict`` one
    for it raises ``AtFaultError``, so that a check of what depends on it can be given up.
    """
    whole, faults = parse(model, data)
    return (whole if whole is not None else _right_part(model, data)), faults


def value_faults(kind: Any, value: Any) -> list[Fault]:
    """Return what keeps ``value`` from being of type ``kind``, by the keys inside of it.

    Types are taken strictly; where a number is wanted, a whole one will do.

    Raises:
        PydanticUserError: of ``kind`` nobody can tell what it takes, as of a class of a library.
    """
    try:
        TypeAdapter(kind).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        return _reported(kind, error, value)
    return []


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the advice for an unknown ``word``: the nearest known one, then all."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return f"{guess}choose one of: {', '.join(known)}" if known else "delete it"


def rule(wrong: str, remedy: str) -> PydanticCustomError:
    """Return the error a validator raises, so that ``parse`` reports ``wrong`` and ``remedy`` as they are."""
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


def _reported(kind: Any, error: ValidationError, data: Any) -> list[Fault]:
    """Return what is wrong with ``data``, which is to be of type ``kind``."""
    by_place: dict[Place, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        by_place.setdefault(_union_at(kind, detail["loc"]), []).append(detail)
    found = []
    for place, details in by_place.items():
        if place == details[0]["loc"]:
            found += [_told(kind, detail, data) for detail in details]
        else:
            found.append(_refused_by_all(kind, place, details, data))
    return found


def _union_at(kind: Any, loc: Place) -> Place:
    """Return ``loc`` as far as files have it: pydantic names the type next in a value of several types."""
    for depth, part in enumerate(loc):
        if len(_members(kind)) > 1 and part != "[key]":
            return loc[:depth]
        kind = _inside(kind, str(part))
    return loc


def _refused_by_all(kind: Any, place: Place, details: Sequence[ErrorDetails], data: Any) -> Fault:
    """Return the fault of the value at ``place``, which each type that it may have refuses."""
    key, value = ".".join(map(str, place)), json.loads(json.dumps(data, default=str))  # with text as keys
    for part in place:
        value = value[part]
    choices = dict.fromkeys(_wanted(detail) for detail in details)
    if None not in choices and all(len(detail["loc"]) == len(place) + 1 for detail in details):
        wanted = " or ".join(map(str, choices))
        return Fault(key, f"is {shown(value)}, not {wanted}", f"write {wanted}")
    remedies = dict.fromkeys(_worded(kind, detail).remedy for detail in details)
    return Fault(key, f"is {shown(value)}, which is nothing that it takes", " or ".join(remedies))


def _wanted(detail: ErrorDetails) -> str | None:
    """Return what is wanted in place of a value; ``None`` where more is wrong than that it is no such."""
    if detail["type"] == "literal_error":
        return str(detail["ctx"]["expected"])
    return _WANTED.get(detail["type"])


def _told(kind: Any, detail: ErrorDetails, data: Any) -> Fault:
    """Return the fault that pydantic's ``detail`` of a value of type ``kind`` describes.

    An item of a long list comes with its line.
    """
    fault = _worded(kind, detail)
    for part in detail["loc"]:
        inner = data[part] if isinstance(data, dict) and part in data else None
        if isinstance(data, Items) and isinstance(part, int) and len(data) > _LONG:
            return fault._replace(wrong=f"{fault.wrong} (line {data.lines[part]})")
        data = inner
    return fault


def _worded(model: Any, detail: ErrorDetails) -> Fault:
    """Return the fault that pydantic's ``detail`` describes, in the words of this project."""
    kind, given, context = detail["type"], shown(detail["input"]), detail.get("ctx", {})
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
        return Fault(key, f"is {given}, not {_WANTED[kind]}", f"write {_WANTED[kind]}")
    if kind == "string_pattern_mismatch":
        return Fault(key, f"is {given}", "use letters, digits, '.', '_' and '-' only")
    if kind == "too_short":
        return Fault(key, "is empty", "give at least one")
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return Fault(key, f"is {given}", f"it {words} {context[name]}")
    if kind == "literal_error":
        return Fault(key, f"is {given}", f"it must be {context['expected']}")
    return Fault(key, f"is {given}: {detail['msg']}", "change the value")


def _table_at(kind: Any, loc: Iterable[str]) -> type[BaseModel] | None:
    """Return the type of the table at ``loc`` of a value of type ``kind``."""
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
        return kind.model_fields[part].annotation if part in kind.model_fields else Any
    parts = [one for one in get_args(kind) if one is not Ellipsis]
    return parts[-1] if parts else Any


def _members(kind: Any) -> list[Any]:
    """Return the types that a value of type ``kind`` may be of, ``None`` left out."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    options = get_args(kind) if get_origin(kind) in {Union, UnionType} else [kind]
    return [option for option in options if option is not type(None)]


def _plain(kind: Any) -> Any:
    """Return ``kind`` without ``Annotated`` and ``| None``."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        return _plain(next(option for option in get_args(kind) if option is not type(None)))
    return kind
