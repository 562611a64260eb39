"""Results files as damage, other programs and ill-meaning raters may leave them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

__all__ = ["forge"]

Rng = np.random.Generator
Table = list[list[str]]

_VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        1.0,
        0.5,
        1.0000001,
        -0.0,
        1e-9,
        10**6,
        10**9 + 1,
        10**17,
        10**30,
        1e308,
    ),
    *(
        "",
        "L",
        "R",
        "T",
        "l",
        "1",
        "\u2028",
        "é",
        "=1+1",
        "x" * 300,
        [],
        {},
        [[]],
        [0, 0],
        [1, 1, 1],
        {"": 0},
    ),
    *({"version": "1", "at": "2026-02-30T00:00:00Z"}, {"version": "2", "at": "2026-11-25T12:00:00Z"}),
]
_RAW = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "9" * 5000,
    '"\\ud800"',
    '"\\u0000"',
    "01",
    "'L'",
    "",
]
_CELLS = [
    *("", " ", "0", "x", "Rejected", "Approved", "Returned", "submitted", "{}", "[]", "null", "[[]]", "[{}]"),
    *(
        '{"v":1}',
        "=cmd()",
        "\0",
        "a\nb",
        "\ud7ff",
        '"',
        "Wed Nov 25 25:99:00 PST 2026",
        "2026-11-25T04:00:00Z",
    ),
    *("[" * 3000, '{"a":' * 3000, "y" * 200_001, "true", "prolific-5f", "SIMULATED-1"),
]
_HEADERS = [
    *("", "AssignmentId", "WorkerId", "assignmentid", "Answer.", "Answer.answers_json", "Answer.block_id"),
    *(
        "Answer.taskAnswers",
        "Answer.answers_json.label",
        "Input.block_id",
        "Turkle.Username",
        "AssignmentStatus",
    ),
]


def forge(data: bytes, rng: Rng, others: list[str]) -> bytes:
    """Return a results file with one to three things changed; ``others`` are strings of the study."""
    for _ in range(int(rng.integers(1, 4))):
        how = _HOW[int(rng.integers(len(_HOW)))]
        data = how(data, rng, others)
    return data


def _pick(rng: Rng, values: list[Any]) -> Any:
    return values[int(rng.integers(len(values)))]


def _bytes(data: bytes, rng: Rng, others: list[str]) -> bytes:
    """Flip, drop, add or repeat bytes, cut the file, or write it in another encoding."""
    if not data:
        return data
    place, size = int(rng.integers(len(data))), int(rng.integers(1, 40))
    choices: list[Callable[[], bytes]] = [
        lambda: data[:place] + bytes([data[place] ^ (1 << int(rng.integers(8)))]) + data[place + 1 :],
        lambda: data[:place] + data[place + size :],
        lambda: data[:place] + rng.bytes(size) + data[place:],
        lambda: data[:place] + data[place : place + size] + data[place:],
        lambda: data[:place],
        lambda: b"\xef\xbb\xbf" + data,
        lambda: data.decode("utf-8", "replace").encode("utf-16"),
        lambda: data.decode("utf-8", "replace").encode("latin-1", "replace"),
        lambda: data.replace(b"\n", b"\r\n"),
        lambda: data.replace(b"\n", b"\r"),
        lambda: data.replace(b'","', b'";"'),
        lambda: data.replace(b'""', b"'"),
        lambda: data[:place] + b"\0" + data[place:],
    ]
    return bytes(_pick(rng, choices)())


def _as_table(change: Callable[[Table, Rng, list[str]], None]) -> Callable[[bytes, Rng, list[str]], bytes]:
    def changed(data: bytes, rng: Rng, others: list[str]) -> bytes:
        try:
            table = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
        except (UnicodeDecodeError, csv.Error):
            return data
        if len(table) < 2 or not all(table):
            return data
        change(table, rng, others)
        text = io.StringIO()
        csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(table)
        return text.getvalue().encode("utf-8", "replace")

    return changed


def _cells(table: Table, rng: Rng, others: list[str]) -> None:
    """Change cells, rows or columns."""
    one, two = (int(rng.integers(1, len(table))) for _ in range(2))
    here, there = (int(rng.integers(len(table[row]))) for row in (one, two))
    match int(rng.integers(9)):
        case 0:
            table[one][here], table[two][there] = table[two][there], table[one][here]
        case 1:
            table[one][here] = _pick(rng, _CELLS + others)
        case 8:
            known = [place for place, name in enumerate(table[0]) if name in _HEADERS]
            table[one][min(_pick(rng, known or [0]), len(table[one]) - 1)] = _pick(rng, _CELLS)
        case 2:
            table[one][here] = table[two][min(here, len(table[two]) - 1)]
        case 3:
            table.insert(two, list(table[one]))
        case 4:
            del table[one][here]
        case 5:
            table[one].insert(here, "")
        case 6:
            table[one], table[two] = table[two], table[one]
        case _:
            del table[one]


def _header(table: Table, rng: Rng, others: list[str]) -> None:
    """Rename, exchange or drop a column."""
    here, there = (int(rng.integers(len(table[0]))) for _ in range(2))
    match int(rng.integers(3)):
        case 0:
            table[0][here] = _pick(rng, _HEADERS)
        case 1:
            table[0][here], table[0][there] = table[0][there], table[0][here]
        case _:
            for row in table:
                del row[here : here + 1]


def _answers(table: Table, rng: Rng, others: list[str]) -> None:
    """Change the answers of one row, as an object or as text; it stays as it is if there are none."""
    row = table[int(rng.integers(1, len(table)))]
    for place, cell in enumerate(row):
        if '"items"' in cell or "items\\" in cell:
            row[place] = _edited(cell, rng, others)


def _edited(cell: str, rng: Rng, others: list[str]) -> str:
    try:
        data = json.loads(cell)
    except (ValueError, RecursionError):
        return _scribbled(cell, rng)
    if isinstance(data, list) and data and isinstance(data[0], dict) and "answers_json" in data[0]:
        inner = data[0]["answers_json"]
        if isinstance(inner, str) and rng.random() < 0.8:
            return json.dumps([{**data[0], "answers_json": _edited(inner, rng, others)}])
    if rng.random() < 0.25:
        return _scribbled(json.dumps(data), rng)
    _change_inside(data, rng, others)
    return json.dumps(data)


def _scribbled(text: str, rng: Rng) -> str:
    """Put something in place of a value, or a key a second time."""
    marks = [place for place, character in enumerate(text) if character in ":,[{"]
    if not marks:
        return text + "]"
    place = _pick(rng, marks) + 1
    end = min((found for mark in ",]}" if (found := text.find(mark, place)) >= 0), default=len(text))
    new = _pick(rng, [*_RAW, '"v":1,', '"id":"x",', "[" * 40 + "]" * 40, " "])
    keep = rng.random() < 0.3
    return f"{text[:place]}{new}{text[place if keep else end :]}"


def _places(inside: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every object or list inside with each of its keys."""
    if isinstance(inside, dict | list):
        for key in list(inside) if isinstance(inside, dict) else range(len(inside)):
            yield inside, key
            yield from _places(inside[key])


def _change_inside(data: Any, rng: Rng, others: list[str]) -> None:
    """Change one place in an object or list, at any depth."""
    places = list(_places(data))
    if not places:
        return
    inside, key = _pick(rng, places)
    match int(rng.integers(5)):
        case 0:
            del inside[key]
        case 1 if isinstance(inside, dict):
            inside[_pick(rng, ["extra", "", "v", "T", "text", *others])] = _pick(rng, _VALUES)
        case 1:
            inside.insert(key, inside[key])
        case 2 if isinstance(inside, list):
            order = rng.permutation(len(inside))
            inside[:] = [inside[place] for place in order]
        case 3:
            inside[key] = _pick(rng, others)
        case _:
            inside[key] = _pick(rng, _VALUES)


_HOW = [_bytes, _as_table(_cells), _as_table(_header), *[_as_table(_answers)] * 3]
