"""JSON with one meaning."""

from __future__ import annotations

import json
import time

import pytest

from vader_bench.human.ingest.strict_json import DEPTH, UnreadableError, strict_json


@pytest.mark.parametrize("data", [None, True, -1, 0.5, "é😀\u2028", [], {"a": [1, {"b": '["{'}]}, 10**17])
def test_json_is_read(data: object) -> None:
    assert strict_json(json.dumps(data)) == data


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON"),
        ("{'a': 1}", "is not JSON"),
        ("[1] x", "is not JSON"),
        ("[01]", "is not JSON"),
        ('["\x01"]', "is not JSON"),
        ('{"a": 1, "a": 1}', "names a key twice"),
        ('[{"b": {"a": 1, "\\u0061": 2}}]', "names a key twice"),
        ("[NaN]", "holds NaN, which is no number"),
        ("-Infinity", "holds -Infinity, which is no number"),
        ("1e999", "holds a number that is too large"),
        ("1" * 19, "holds a number that is too large"),
        ("[" + "9" * 10_000 + "]", "holds a number that is too large"),
        ('{"\\ud800": 1}', "has an incomplete character in it"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"a":' * 50_000 + "1" + "}" * 50_000, "is nested too deeply"),
    ],
)
def test_what_has_two_meanings_or_none_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        strict_json(text)
    assert str(caught.value).startswith(reason)


def test_depth_is_counted_outside_of_strings() -> None:
    assert strict_json("[" * DEPTH + "]" * DEPTH)
    assert strict_json(json.dumps(['[{"\\' * 100])) == ['[{"\\' * 100]
    with pytest.raises(UnreadableError, match="nested"):
        strict_json("[" * (DEPTH + 1) + "]" * (DEPTH + 1))


def test_a_string_without_an_end_is_read_once() -> None:
    text = '"' + '\\"' * 100_000  # a minute and more where each quote is tried as the beginning
    began = time.process_time()
    with pytest.raises(UnreadableError, match="is not JSON"):
        strict_json(text)
    assert time.process_time() - began < 5


def test_nothing_of_the_text_is_quoted() -> None:
    with pytest.raises(UnreadableError) as caught:
        strict_json('{"SECRET": 1, "SECRET": 2}')
    assert "SECRET" not in str(caught.value)
