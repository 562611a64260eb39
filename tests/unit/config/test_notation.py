"""A value of a file is what a person reads there, or a fault."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vader_bench.config.faults import Fault
from vader_bench.config.notation import Items, read_yaml


def told(text: str) -> list[Fault]:
    return read_yaml(text)[1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("-10", -10),
        ("0", 0),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0b101", 5),
        (str(2**200 + 1), 2**200 + 1),  # a secret seed
        ("0.5", 0.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e-3", 0.001),
        ("1.5E+3", 1500.0),
        ("007.5", 7.5),
        ("0.0", 0.0),
        ("0e5", 0.0),
        ("5e-324", 5e-324),
        ("1.7e308", 1.7e308),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("'010'", "010"),
        ('"1:30"', "1:30"),
        ("'yes'", "yes"),
        ("y", "y"),
        ("n", "n"),
        ("08", "08"),
        ("a cat: on a mat", None),
        ("!!str 5", "5"),
        ("!!int 5", 5),
        ("!!float 5", 5.0),
        ("12:30 o'clock", "12:30 o'clock"),
    ],
)
def test_values_are_what_they_look_like(text: str, value: Any) -> None:
    if text.startswith("a cat"):
        with pytest.raises(yaml.YAMLError):
            read_yaml(f"k: {text}")
        return
    found, faults = read_yaml(f"k: {text}")
    assert (found, faults) == ({"k": value}, [])
    assert type(found["k"]) is type(value)


@pytest.mark.parametrize(
    ("text", "wrong", "remedy"),
    [
        ("010", "is '010', a number with leading zeros, which YAML reads in base 8", "write 10, or '010' in"),
        ("-007", "is '-007', a number with leading zeros", "write -7, or"),
        ("0_17", "is '0_17', a number with leading zeros", "write 17, or"),
        ("1:30", "is '1:30', which YAML reads as a number in base 60", "put '1:30' in quotes, or"),
        ("12:30:45", "which YAML reads as a number in base 60", "put '12:30:45' in quotes"),
        ("1:30.5", "which YAML reads as a number in base 60", "put '1:30.5' in quotes"),
        ("yes", "is yes, which YAML reads as true", "write true, or 'yes' in quotes"),
        ("No", "is No, which YAML reads as false", "write false, or 'No' in quotes"),
        ("on", "is on, which YAML reads as true", "write true"),
        ("OFF", "is OFF, which YAML reads as false", "write false"),
        ("1e400", "is '1e400', which is too large for a number", "write a smaller one"),
        ("-1e999", "too large for a number", "write a smaller one"),
        ("1e-400", "is '1e-400', which is too small for a number", "write a larger one, or 0"),
        (str(2**256), "a whole number of more than 256 bits", "write a smaller one"),
        ("9" * 5000, "(5002 characters), a whole number of more than 256 bits", "write a smaller one"),
        ("!!int x", "is 'x' with the tag !!int", "delete the tag"),
        ("!!float x", "is 'x' with the tag !!float", "delete the tag"),
        ("!!float ''", "is '' with the tag !!float", "delete the tag"),
        ("!!bool 3", "is '3' with the tag !!bool", "delete the tag"),
        ("!!null 3", "is '3' with the tag !!null", "delete the tag"),
        ("!!str [a]", "is a list with the tag !!str", "delete the tag"),
        ("!!int {a: 1}", "is `key: value` lines with the tag !!int", "delete the tag"),
        ("!!seq a", "is a scalar with the tag !!seq", "delete the tag"),
        ("2026-13-45", "is a timestamp (line 1)", "put it in quotes"),
        ("2026-01-01 25:61:61", "is a timestamp (line 1)", "put it in quotes"),
        ("!!timestamp x", "is a timestamp (line 1)", "put it in quotes"),
        ("!!binary x", "is a binary (line 1)", "put it in quotes"),
        ("!!set {a}", "is a set (line 1)", "put it in quotes"),
        ("!!omap [a]", "is a omap (line 1)", "put it in quotes"),
        ("=", "is a value (line 1)", "put it in quotes"),
    ],
)  # fmt: skip
def test_what_would_become_another_value_is_refused(text: str, wrong: str, remedy: str) -> None:
    [(key, said, advice)] = told(f"k: {text}")
    assert key == "k"
    assert wrong in said
    assert advice.startswith(remedy)
    assert len(said) < 200


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 3000, "nested too deep"),
        ("{a: " * 3000, "nested too deep"),
        ("- " * 3000 + "x", "nested too deep"),
        ("a: &a [*a]", "a value that holds itself"),
        ("a: &a {b: [*a]}", "a value that holds itself"),
        ('a: "x\\0y"', r"a control character, '\\x00'"),
        ('a: "\\e[31m"', r"a control character, '\\x1b'"),
        ('a: "\\ud800"', "half a character"),
        ('a: "\\U00110000"', "an escape that is no character"),
        ('a: "\\UFFFFFFFF"', "an escape that is no character"),
        ("a: !!python/name:os.system x", "the tag .* means nothing here"),
        ("a: !mine x", "the tag '!mine' means nothing here"),
        ("!!python/object:os.system {}", "means nothing here"),
        ("%YAML 1." + "9" * 5000 + "\n---\na: b", "an escape that is no character|YAML"),
    ],
)
def test_what_cannot_be_read_is_no_yaml(text: str, problem: str) -> None:
    with pytest.raises(yaml.YAMLError, match=problem):
        read_yaml(text)


def laughs(levels: int) -> str:
    """A list of nine, of which each level stands for nine of the one before."""
    lines = ["x0: &x0 [" + ", ".join(["x"] * 9) + "]"]
    lines += [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


def test_aliases_of_aliases_are_limited_by_what_they_stand_for() -> None:
    begun = time.monotonic()
    with pytest.raises(yaml.YAMLError, match="aliases stand for more than 10000 values"):
        read_yaml(laughs(9))
    assert time.monotonic() - begun < 2
    assert len(read_yaml(laughs(3))[0]["x2"]) == 9


def test_items_of_a_list_know_their_lines() -> None:
    found = read_yaml("a:\n- x\n\n- y\nb: [p,\n  q]\n")[0]
    assert isinstance(found["a"], Items)
    assert (found["a"], found["a"].lines) == (["x", "y"], [2, 4])
    assert found["b"].lines == [5, 6]


# no e in texts: 1e3 is a number here, and none to what writes them
_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="eE"), max_size=12)
    | st.sampled_from(["yes", "010", "1:30", "2026-01-01", "0x1F", "~", "=", "<<", ".inf"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text("abyn01", max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from("abc"), _PLAIN))
def test_what_yaml_writes_is_read_back_as_it_was(data: dict[str, Any]) -> None:
    found, faults = read_yaml(yaml.safe_dump(data, allow_unicode=True))
    assert faults == []
    assert found == data
