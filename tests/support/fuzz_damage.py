"""Damage to files: bytes that are torn, JSON of another form, payloads that would run, and no file at all."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

__all__ = ["NO_FILES", "TOKENS", "Payload", "pickled", "put", "retold", "torn"]

_ODD_BYTES = [
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\x1a", b"\xc3", b"\xed\xa0\x80", b"\x80\x04\x95",
    b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"<!doctype html>", b"{" * 2000, b'"' * 3, b"\0" * 4096,
    b"=cmd|'/C calc'!A0", b"9" * 5000, b",,,,", b"\n" * 500, b"x" * 200_000,
]  # fmt: skip

TOKENS = [
    "null", "true", "false", "0", "-1", "-0", "1.5", "1e400", "-1e400", "1e308", "1e-400", "NaN", "Infinity",
    "-Infinity", "9" * 30, "9" * 5000, '""', '" "', '"text"', '"\\ud800"', '"\\u0000"', '"\\u202e"',
    '"\\u001b[31m"', '"/etc/passwd"', '"../../x"', '"a/b"', '"."', json.dumps("x" * 3000), "[]", "[null]",
    "[[]]", "[1]", '["a"]', "{}", '{"a": 1}', '{"a": {"b": []}}', "[" * 3000, "[" * 800 + "]" * 800,
    '{"a": 1, "a": 2}', "'x'", "x", "",
]  # fmt: skip
"""What a value of JSON is replaced by, as its text."""
_MARK = "@@here@@"


@st.composite
def torn(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return ``whole`` cut, with other bytes in it, in another encoding, or something else altogether."""
    at = draw(st.integers(0, len(whole)))
    odd = draw(st.one_of(st.sampled_from(_ODD_BYTES), st.binary(max_size=8)))
    to = min(len(whole), at + draw(st.integers(0, 12)))
    how = draw(st.sampled_from(["cut", "put in", "put in", "flip", "first", "twice", "recode", "else"]))
    if how == "cut":
        return whole[:at]
    if how == "put in":
        return whole[:at] + odd + whole[to:]
    if how == "flip":
        return whole[:at] + bytes(byte ^ draw(st.integers(1, 255)) for byte in whole[at:to]) + whole[to:]
    if how == "first":
        return odd + whole
    if how == "twice":
        return whole + whole
    if how == "recode":
        text = whole.decode("utf-8", "replace")
        return text.replace("\n", "\r\n").encode(
            draw(st.sampled_from(["utf-16", "utf-8-sig", "utf-32", "utf-7"]))
        )
    return odd


@st.composite
def retold(draw: st.DrawFn, data: Any) -> bytes:
    """Return ``data`` as JSON with one or two keys gone, more, or with another value."""
    for _ in range(draw(st.integers(1, 2))):
        data = json.loads(json.dumps(data))
        places = list(_places(data))
        if not places:
            break
        depth = draw(st.integers(1, max(map(len, places))))  # else nearly all would be deep inside
        *way, last = draw(st.sampled_from([place for place in places if len(place) == depth]))
        inner = data
        for step in way:
            inner = inner[step]
        how = draw(st.sampled_from(["replace", "replace", "replace", "delete", "add"]))
        if how == "delete":
            del inner[last]
        elif how == "add" and isinstance(inner, dict):
            inner[draw(st.sampled_from(["", "more", "version", "__class__", "\u202e"]))] = _MARK
        else:
            inner[last] = _MARK
    text = json.dumps(data)
    while f'"{_MARK}"' in text:
        text = text.replace(f'"{_MARK}"', draw(st.sampled_from(TOKENS)), 1)
    return text.encode("utf-8", "surrogatepass")


def _places(data: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the ways to all that stands in ``data``; of a list those of the first and the last item."""
    if isinstance(data, dict):
        steps: list[Any] = list(data)
    else:
        steps = sorted({0, len(data) - 1}) if isinstance(data, list) and data else []
    for step in steps:
        yield (*way, step)
        yield from _places(data[step], (*way, step))


class Payload:
    """An object that makes a file when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.made),)


def pickled(made: Path) -> bytes:
    """Return a pickle that makes the folder ``made`` where it is read without care."""
    return pickle.dumps({"state_dict": Payload(made)}, protocol=2)


def put(path: Path, data: bytes) -> None:
    """Make ``path`` a file of ``data``, whatever is there."""
    _clear(path)
    path.write_bytes(data)


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _nothing(path: Path) -> None:
    _clear(path)


def _folder(path: Path) -> None:
    _clear(path)
    path.mkdir()


def _loop(path: Path) -> None:
    _clear(path)
    path.symlink_to(path)


def _dangling(path: Path) -> None:
    _clear(path)
    path.symlink_to(path.with_name("nowhere"))


def _locked(path: Path) -> None:
    path.chmod(0)  # root reads it all the same, and is then told what is in it


NO_FILES: dict[str, Callable[[Path], None]] = {
    "nothing": _nothing, "a folder": _folder, "a link to itself": _loop, "a link to nothing": _dangling,
    "no permission": _locked,
}  # fmt: skip
"""What may be in the place of a file, by name."""
