"""YAML text as plain values. What YAML reads otherwise than people do is a fault, not another value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import yaml

from vader_bench.config.faults import Fault
from vader_bench.errors import shown

__all__ = ["Items", "read_yaml"]

_DEEPEST = 50
_MOST_REPEATED = 10_000
"""Values that aliases may add: files say a thing twice, and aliases of aliases a billion times."""
_LARGEST = 2**256 - 1
_TAG = "tag:yaml.org,2002:"
_KINDS = {yaml.ScalarNode: "a scalar", yaml.SequenceNode: "a list", yaml.MappingNode: "`key: value` lines"}
_OTHERS = {_TAG + name for name in ("binary", "merge", "omap", "pairs", "set", "timestamp", "value")}
_NO_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)
_TRUE_OR_FALSE = {"true": True, "false": False}
_NULL = {"", "~", "null"}


class Items(list[Any]):
    """A list of a file, which knows where its items are."""

    lines: list[int]
    """Line of each item, from 1."""

    def __init__(self, items: Iterable[Any], lines: list[int]) -> None:
        super().__init__(items)
        self.lines = lines


def read_yaml(text: str) -> tuple[Any, list[Fault]]:
    """Return what ``text`` says, in plain values, and what is wrong with its keys and values.

    Beyond plain YAML, ``1e-3`` is a number. Faults are a key given twice, a key that is not text, a value
    that JSON does not know (a date), a tag that does not fit its value, a number that is not finite or that
    no computer's number holds, and notations that YAML 1.1 reads otherwise than people: leading zeros
    (octal), colons (base 60), ``yes``, ``no``, ``on`` and ``off``. A value at fault is returned as its text.

    Raises:
        yaml.YAMLError: not YAML, or half a character, a control character, values nested too deep, or
            aliases that repeat too much.
    """
    node, reader = _composed(text), _Reader()
    return (reader.value(node, ()) if node is not None else None), reader.faults


@lru_cache(maxsize=32)
def _composed(text: str) -> yaml.Node | None:
    """Return the nodes of ``text``, to be read only: an experiment asks for its suite once an arm."""
    loader = _Loader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
    except (ValueError, OverflowError) as error:  # of PyYAML, for an escape beyond the last character
        raise yaml.MarkedYAMLError(
            problem="an escape that is no character", problem_mark=loader.get_mark()
        ) from error
    return node


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader up to the nodes, for text of any shape."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values = 0
        self._repeated = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse nodes too deep for recursion, and aliases that stand for too much."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            node = super().compose_node(parent, index)
            size = self._sizes.get(id(node))
            if size is None:
                wrong = "a value that holds itself is nested too deep"
                raise yaml.MarkedYAMLError(problem=wrong, problem_mark=mark)
            self._values += size
            self._repeated += size
            if self._repeated > _MOST_REPEATED:
                wrong = f"aliases stand for more than {_MOST_REPEATED} values"
                raise yaml.MarkedYAMLError(problem=wrong, problem_mark=mark)
            return node
        if self._depth > _DEEPEST:
            raise yaml.MarkedYAMLError(problem="a value is nested too deep", problem_mark=mark)
        before = self._values
        self._values += 1
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._sizes[id(node)] = self._values - before
        return node

    def compose_scalar_node(self, anchor: dict[Any, yaml.Node]) -> yaml.ScalarNode:
        """Refuse what escapes such as U+D800 and U+0000 become: no file, path or prompt can hold it."""
        node = super().compose_scalar_node(anchor)
        assert node is not None
        if found := _NO_CHARACTER.search(node.value):
            kind = "half a" if found[0] >= "\ud800" else "a control"
            wrong = f"{kind} character, {found[0]!r}"
            raise yaml.MarkedYAMLError(problem=wrong, problem_mark=node.start_mark)
        return node


_Loader.add_implicit_resolver(
    _TAG + "float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


class _Reader:
    """Makes values of nodes and gathers what is wrong with them."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def value(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        """Return the value of ``node``, which is at the keys ``path``."""
        if len(path) > _DEEPEST:
            raise yaml.MarkedYAMLError(problem="a value is nested too deep", problem_mark=node.start_mark)
        self.faults += (Fault(".".join(path), *words) for words in _tag_faults(node))
        if isinstance(node, yaml.SequenceNode):
            items = (self.value(item, (*path, str(index))) for index, item in enumerate(node.value))
            return Items(items, [_line(item) for item in node.value])
        if isinstance(node, yaml.MappingNode):
            return self._table(node, path)
        assert isinstance(node, yaml.ScalarNode)
        try:
            return _scalar(node)
        except _NotationError as error:
            self.faults.append(Fault(".".join(path), f"{error.wrong} (line {_line(node)})", error.remedy))
            return node.value

    def _table(self, node: yaml.MappingNode, path: tuple[str, ...]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            here = (*path, name)
            if key_node.tag != _TAG + "str" or name == "?":
                wrong = f"is not a text key (line {_line(key_node)})"
                remedy = "put the key in quotes, or write out what `<<` would merge"
                self.faults.append(Fault(".".join(here), wrong, remedy))
            elif name in table:
                wrong = f"is given again (line {_line(key_node)})"
                self.faults.append(Fault(".".join(here), wrong, "keep one of the two"))
            table[name] = self.value(value_node, here)
        return table


class _NotationError(Exception):
    """A scalar that is not what it looks like, or that nothing here can hold."""

    def __init__(self, wrong: str, remedy: str) -> None:
        super().__init__(wrong, remedy)
        self.wrong = wrong
        self.remedy = remedy


def _tag_faults(node: yaml.Node) -> Iterator[tuple[str, str]]:
    """Yield what is wrong, and what to do, with the tag of a node.

    Raises:
        yaml.MarkedYAMLError: the tag means nothing here, or to nobody.
    """
    name = node.tag.removeprefix(_TAG)
    if node.tag in _OTHERS:
        yield f"is a {name} (line {_line(node)})", "put it in quotes"
        return
    fits = {"seq": yaml.SequenceNode, "map": yaml.MappingNode}
    scalars = {"null", "bool", "int", "float", "str"}
    if name not in fits and name not in scalars:
        wrong = f"the tag {shown(node.tag)} means nothing here"
        raise yaml.MarkedYAMLError(problem=wrong, problem_mark=node.start_mark)
    if name == "float" and _NOT_FINITE.fullmatch(str(node.value)):
        yield f"is {node.value}, not a finite number", "write a finite number"
    if not isinstance(node, fits.get(name, yaml.ScalarNode)):
        yield f"is {_KINDS[type(node)]} with the tag !!{name} (line {_line(node)})", "delete the tag"


def _scalar(node: yaml.ScalarNode) -> Any:
    """Return the value of a scalar; its text where its tag is at fault.

    Raises:
        _NotationError: the text is not what it looks like.
    """
    readers = {"null": _null, "bool": _bool, "int": _int, "float": _float}
    name = node.tag.removeprefix(_TAG)
    return readers[name](node.value) if name in readers else node.value


def _null(text: str) -> None:
    if text.lower() not in _NULL:
        raise _unfit(text, "null")


def _bool(text: str) -> bool:
    word = text.lower()
    if word in _TRUE_OR_FALSE:
        return _TRUE_OR_FALSE[word]
    if word in {"yes", "no", "on", "off"}:
        meant = "true" if word in {"yes", "on"} else "false"
        raise _NotationError(
            f"is {text}, which YAML reads as {meant}", f"write {meant}, or '{text}' in quotes"
        )
    raise _unfit(text, "bool")


def _int(text: str) -> int:
    plain = text.replace("_", "")
    if found := re.fullmatch(r"([-+]?)0+([0-9]+)", plain):
        remedy = f"write {found[1]}{found[2]}, or '{text}' in quotes"
        raise _NotationError(
            f"is {shown(text)}, a number with leading zeros, which YAML reads in base 8", remedy
        )
    _refuse_base_60(text)
    found = re.fullmatch(r"[-+]?(?:(0b[01]+)|(0x[0-9a-fA-F]+)|([0-9]+))", plain)
    if found is None:
        raise _unfit(text, "int")
    base = 2 if found[1] else 16 if found[2] else 10
    number = int(plain, base) if len(plain) <= 300 else _LARGEST + 1  # Python reads no endless digits
    if abs(number) > _LARGEST:
        raise _NotationError(f"is {shown(text)}, a whole number of more than 256 bits", "write a smaller one")
    return number


def _float(text: str) -> float | str:
    if _NOT_FINITE.fullmatch(text):
        return text  # at fault by its tag
    _refuse_base_60(text)
    plain = text.replace("_", "")
    found = re.fullmatch(r"[-+]?([0-9]*\.?[0-9]*)(?:[eE][-+]?[0-9]+)?", plain)
    if found is None or not re.search("[0-9]", found[1]):
        raise _unfit(text, "float")
    number = float(plain)
    if math.isinf(number):
        raise _NotationError(f"is {shown(text)}, which is too large for a number", "write a smaller one")
    if number == 0 and re.search("[1-9]", found[1]):
        raise _NotationError(f"is {shown(text)}, which is too small for a number", "write a larger one, or 0")
    return number


def _refuse_base_60(text: str) -> None:
    if re.fullmatch(r"[-+]?[0-9_]+(:[0-9_]+)+(\.[0-9_]*)?", text):
        wrong = f"is {shown(text)}, which YAML reads as a number in base 60"
        raise _NotationError(wrong, f"put '{text}' in quotes, or write a number without colons")


def _unfit(text: str, tag: str) -> _NotationError:
    return _NotationError(f"is {shown(text)} with the tag !!{tag}", "delete the tag")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
