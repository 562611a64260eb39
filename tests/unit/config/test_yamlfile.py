"""Every fault of a YAML file is reported, each with its place and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from vader_bench.config.schema import Strict
from vader_bench.config.yamlfile import (
    AtFaultError,
    Fault,
    dump_yaml,
    nearest,
    parse,
    parse_partly,
    raise_faults,
    read_mapping,
    rule,
    value_faults,
)
from vader_bench.errors import ExitCode, UserError

WHOLE = "write a whole number"
LINES = "write `key: value` lines"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    steps: int = Field(ge=2, le=50)
    kind: Literal["ddim", "euler"] = "ddim"


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern="^[a-z]+$")]
    rate: float = Field(default=0.5, gt=0, lt=1)
    on: bool = True
    frames: tuple[int, ...] = ()
    tags: list[str] = Field(default=["x"], min_length=1)
    inner: Inner | None = None
    table: dict[str, Inner] = {}

    @field_validator("name")
    @classmethod
    def _not_base(cls, value: str) -> str:
        if value == "base":
            raise rule("is taken", "take another name")
        return value


class Several(BaseModel):
    k: int | Literal["random"] = 1
    names: str | list[str] = ""
    parts: dict[str, list[Annotated[int | Literal["all"], Field()]] | None] = {}
    inner: Inner | int | None = None


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file.yaml"
    path.write_text(text, "utf-8")
    return path


def faults_of(data: dict[str, Any]) -> list[Fault]:
    return parse(Outer, data)[1]


def test_good_file(tmp_path: Path) -> None:
    text = "name: abc\nrate: 1e-3\nframes: [0, 2]\ninner: {steps: 10}\n"
    data, faults = read_mapping(written(tmp_path, text))
    assert faults == []
    found, faults = parse(Outer, data)
    assert faults == []
    assert found == Outer(name="abc", rate=0.001, frames=(0, 2), inner=Inner(steps=10))


@pytest.mark.parametrize(
    ("data", "key", "wrong", "remedy"),
    [
        ({"k": "all"}, "k", "is 'all', not a whole number or 'random'", "write a whole number or 'random'"),
        ({"k": 1.5}, "k", "is 1.5, not a whole number or 'random'", "write a whole number or 'random'"),
        ({"names": 3}, "names", "is 3, not text or a list", "write text or a list"),
        (
            {"parts": {"a": [1, "al"]}},
            "parts.a.1",
            "is 'al', not a whole number or 'all'",
            "write a whole num",
        ),
        ({"parts": {"a": 3}}, "parts.a", "is 3, not a list", "write a list"),
        ({"names": ["a", 3]}, "names", "is ['a', 3], which is nothing that it takes", "write text"),
        ({"inner": {"kind": "ddim"}}, "inner", "is {'kind': 'ddim'}, which is nothing that", "add it or wri"),
    ],
)
def test_a_value_of_several_types_has_one_fault(
    data: dict[str, Any], key: str, wrong: str, remedy: str
) -> None:
    (fault,) = parse(Several, data)[1]
    assert fault.key == key
    assert fault.wrong.startswith(wrong)
    assert fault.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("kind", "value", "key"),
    [(tuple[int | str, ...], [1, 2.5], "1"), (dict[int, int | str], {1: 2.5}, "1"), (int | str, 2.5, "")],
)
def test_a_value_of_several_types_inside_of_another_has_one_fault(kind: Any, value: Any, key: str) -> None:
    wanted = "write a whole number or text"
    assert value_faults(kind, value) == [Fault(key, "is 2.5, not a whole number or text", wanted)]


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "-2e+4", "1.5e3", "7.e-2"])
def test_scientific_notation_is_a_number(tmp_path: Path, number: str) -> None:
    assert read_mapping(written(tmp_path, f"rate: {number}"))[0] == {"rate": float(number)}


def test_a_character_of_eight_digits_is_whole(tmp_path: Path) -> None:
    assert read_mapping(written(tmp_path, 'name: "\\U0001F680"'))[0] == {"name": "🚀"}


@pytest.mark.parametrize("text", ["e3", "1e", "a1e3", "1e3x", '"1e3"'])
def test_what_only_resembles_a_number_is_text(tmp_path: Path, text: str) -> None:
    assert read_mapping(written(tmp_path, f"name: {text}"))[0] == {"name": text.strip('"')}


def test_all_keys_at_fault_are_reported(tmp_path: Path) -> None:
    text = "a: 1\nb:\n  c: 1\n  c: 2\na: 3\n7: x\nd: .nan\ne: [-.inf]\nf: 2026-01-01\n"
    faults = read_mapping(written(tmp_path, text))[1]
    assert [(fault.key, fault.wrong) for fault in faults] == [
        ("b.c", "is given again (line 4)"),
        ("a", "is given again (line 5)"),
        ("7", "is not a text key (line 6)"),
        ("d", "is .nan, not a finite number"),
        ("e.0", "is -.inf, not a finite number"),
        ("f", "is a timestamp (line 9)"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3\n", r"line 2, column 2: is not YAML"),
        ("a: b: c\n", r"line 1, column 5: is not YAML"),
        ("a: \x01\n", r"file\.yaml: is not YAML"),
        ("a: !!python/name:os.system\n", "is not YAML"),
        ("a: &a [*a]\n", "nested too deep"),
        ('a: b\nc: ["x\\ud800"]\n', r"line 2, column 5: is not YAML \(half a character, '\\ud800'\)"),
        ('"\\udfff": b\n', r"line 1, column 1: is not YAML \(half a character"),
        ("- a\n- b\n", "has no `key: value` lines"),
        ("", "has no `key: value` lines"),
        ("# nothing\n", "has no `key: value` lines"),
    ],
)
def test_no_yaml_mapping(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_mapping(written(tmp_path, text))


def test_what_is_written_is_read_again_and_has_no_references(tmp_path: Path) -> None:
    same = {"learning_rate": 1e-5, "k": [1, 8]}
    table = {"b": {"one": same, "two": same}, "a": "K\u00f6nig"}
    text = dump_yaml(table)
    assert "&" not in text
    assert "K\u00f6nig" in text
    path = tmp_path / "table.yaml"
    path.write_text(text, encoding="utf-8")
    assert read_mapping(path) == (table, [])
    assert text.index("b:") < text.index("a:")


def test_a_value_used_twice_is_allowed(tmp_path: Path) -> None:
    data, faults = read_mapping(written(tmp_path, "a: &x {k: 1}\nb: *x\n"))
    assert (data["b"], faults) == ({"k": 1}, [])


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({}, Fault("name", "is missing", "add it")),
        ({"name": 3}, Fault("name", "is 3, not text", "write text")),
        ({"name": "A b"}, Fault("name", "is 'A b'", "use letters, digits, '.', '_' and '-' only")),
        ({"name": "base"}, Fault("name", "is taken", "take another name")),
        ({"name": "a", "rate": "x"}, Fault("rate", "is 'x', not a number", "write a number")),
        ({"name": "a", "rate": 0}, Fault("rate", "is 0", "it must be above 0.0")),
        ({"name": "a", "rate": 1}, Fault("rate", "is 1", "it must be below 1.0")),
        ({"name": "a", "on": 1}, Fault("on", "is 1, not true or false", "write true or false")),
        ({"name": "a", "tags": []}, Fault("tags", "is empty", "give at least one")),
        ({"name": "a", "tags": "x"}, Fault("tags", "is 'x', not a list", "write a list")),
        ({"name": "a", "frames": 1}, Fault("frames", "is 1, not a list", "write a list")),
        ({"name": "a", "frames": [0.5]}, Fault("frames.0", "is 0.5, not a whole number", WHOLE)),
        ({"name": "a", "inner": 1}, Fault("inner", "is 1, not `key: value` lines", LINES)),
        ({"name": "a", "inner": {"steps": 1}}, Fault("inner.steps", "is 1", "it must be at least 2")),
        ({"name": "a", "inner": {"steps": 51}}, Fault("inner.steps", "is 51", "it must be at most 50")),
        (
            {"name": "a", "inner": {"steps": 2, "kind": "edm"}},
            Fault("inner.kind", "is 'edm'", "it must be 'ddim' or 'euler'"),
        ),
    ],
)  # fmt: skip
def test_each_kind_of_fault_has_its_sentence(data: dict[str, Any], fault: Fault) -> None:
    assert faults_of(data) == [fault]


def test_unknown_keys_get_the_nearest_known_one_at_every_depth() -> None:
    data = {"name": "a", "rats": 1, "inner": {"steps": 2, "step": 3}, "table": {"x": {"steps": 2, "zzz": 1}}}
    assert faults_of(data) == [
        Fault("inner.step", "is not a known key", "did you mean 'steps'? choose one of: kind, steps"),
        Fault("table.x.zzz", "is not a known key", "choose one of: kind, steps"),
        Fault(
            "rats",
            "is not a known key",
            "did you mean 'rate'? choose one of: frames, inner, name, on, rate, table, tags",
        ),
    ]


class Table(Strict):
    """A table that refuses to give what is at fault."""

    steps: Annotated[int, Field(ge=2)]
    every: int = 4
    tags: list[str] = Field(default=["x"])


class Tables(Strict):
    name: str
    first: Table
    others: dict[str, Table] = Field(default={})

    @field_validator("name")
    @classmethod
    def _not_base(cls, value: str) -> str:
        if value == "base":
            raise rule("is taken", "take another name")
        return value


def test_what_is_right_is_kept_and_what_is_at_fault_cannot_be_asked_for() -> None:
    others = {"good": {"steps": 3}, "bad": {"steps": 1, "tags": ["y", 2]}, "none": 5}
    found, faults = parse_partly(Tables, {"name": "base", "first": {"every": 2}, "others": others, "more": 1})
    keys = {"name", "first.steps", "others.bad.steps", "others.bad.tags.1", "others.none", "more"}
    assert {fault.key for fault in faults} == keys
    assert (found.first.every, found.first.tags) == (2, ["x"])
    assert found.others["good"] == Table(steps=3)
    assert found.others["bad"].every == 4
    for ask in (
        lambda: found.name,
        lambda: found.first.steps,
        lambda: found.others["bad"].steps,
        lambda: found.others["bad"].tags,
        lambda: found.others["none"].every,
    ):
        with pytest.raises(AtFaultError):
            ask()


def test_what_is_right_as_a_whole_is_parsed_as_ever() -> None:
    data = {"name": "abc", "first": {"steps": 2}}
    assert parse_partly(Tables, data) == (parse(Tables, data)[0], [])
    assert parse_partly(Tables, {"name": "abc"})[0].name == "abc"
    with pytest.raises(AttributeError):
        parse_partly(Tables, data)[0].nmae  # type: ignore[attr-defined]  # noqa: B018


def test_nearest_without_anything_known() -> None:
    assert nearest("x", []) == "delete it"


def test_faults_become_one_error_with_a_line_each() -> None:
    own = UserError("other.yaml", "is gone", "bring it back", exit_code=ExitCode.MISSING)
    faults = [
        Fault("a.b", "is 1", "make it 2"),
        Fault("a.b", "is 1", "make it 2"),
        Fault("", "is empty", "fill it"),
    ]
    with pytest.raises(UserError) as caught:
        raise_faults("x.yaml", [*faults, own])
    lines = [
        "x.yaml: a.b: is 1; make it 2",
        "x.yaml: is empty; fill it",
        "other.yaml: is gone; bring it back",
    ]
    assert str(caught.value).splitlines() == lines
    assert caught.value.exit_code is ExitCode.MISSING


def test_no_fault_is_no_error() -> None:
    raise_faults("x.yaml", [])


def test_faults_in_long_lists_have_item_and_line(tmp_path: Path) -> None:
    lines = [f"- {number}" for number in range(40)]
    lines[31] = "- x"
    path = written(tmp_path, "name: abc\n\nframes:\n" + "\n".join(lines))
    faults = parse(Outer, read_mapping(path)[0])[1]
    assert faults == [Fault("frames.31", "is 'x', not a whole number (line 35)", "write a whole number")]


def test_no_message_is_longer_than_a_screen(tmp_path: Path) -> None:
    data = {"name": "abc", "frames": ["x" * 100_000] * 1000, "rate": "y" * 800_000}
    with pytest.raises(UserError) as caught:
        raise_faults("x.yaml", parse(Outer, data)[1])
    lines = str(caught.value).split("\n")
    assert len(lines) == 20
    assert lines[-1] == "x.yaml: has 982 more faults; correct these first"
    assert all(len(line) < 200 for line in lines)
    single = str(UserError("x" * 700_000, "is too long", "shorten it"))
    assert len(single) < 500
    assert single.endswith("is too long; shorten it")
