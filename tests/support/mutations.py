"""YAML files that people and programs have damaged: a file that is right, with some of it replaced."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

__all__ = ["VALUES", "mutated"]

_LAUGHS = "[&a [x, x, x, x, x, x, x, x, x], &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]{more}]".format(
    more="".join(f", &{n} [{', '.join([f'*{m}'] * 9)}]" for m, n in zip("bcdefg", "cdefgh", strict=True))
)

VALUES = [
    "", "~", "0", "-1", "1", "2", "1.5", "true", "yes", "off", "text", "''", "'  '", "[]", "{}", "[[]]",
    "[~]", "[{}]", "{a: b}", "{a: {b: [c, 1]}}", "[1, two, 3.5]", "[a, a]", "[1, 1]", "[true, 1]", "- a",
    "010", "1:30", "0x1F", "1_000", "1e400", "1e-400", "-.inf", ".nan", "99999999999999999999999",
    "1" * 5000, "2026-01-01", "2026-13-45", "2026-01-01T25:00:00Z", "!!int x", "!!float x", "!!bool x",
    "!!null x", "!!timestamp x", "!!binary x", "!!set {a}", "!!omap [a]", "!!str [a]", "!!seq a", "!!map a",
    "!mine x", "!!python/object:os.system {}", '"a\\0b"', '"./a\\0b.txt"', '"./a\\0b.yaml"', '"./a\\0b"',
    '"\\ud800"', '"\\U00110000"', '"\\e[31m"', "\x07", "&a [*a]", "&a {b: *a}", "*nowhere", "<<", "=", "? a",
    "{<<: {a: b}}", "[" * 60 + "]" * 60, "[" * 3000, "{a: " * 3000, _LAUGHS, "x" * 300, "x" * 100_000,
    "./" + "x" * 300, "./" + "x" * 300 + ".txt", "./" + "x/" * 3000 + "x.yaml", "~nobody/x.txt",
    "$NOBODY/x.yaml", ".", "..", "/", "/dev", "./.txt", ".yaml", "hf:", "hf:a", "hf:a/b", "pocket/",
    "pocket/..", "pocket:dev", "pocket:dev:dev", ":dev", "random", "default", "base", "train", "heldout",
    "vader", "aesthetic", "clip",
    "'%'", "'{wrong}'", "\u202etext", "\ufeff", "%YAML 1.3", "---", "...", "#", "'", '"', "[", "{", ":", "|",
    ">", "@", "`",
]  # fmt: skip
"""What a value is replaced by."""


@st.composite
def _replaced(draw: st.DrawFn, text: str) -> str:
    """Replace what is after a colon or a dash in a line."""
    lines = text.split("\n")
    number = draw(st.sampled_from([i for i, line in enumerate(lines) if ":" in line or "-" in line] or [0]))
    line, value = lines[number], draw(st.sampled_from(VALUES))
    key, colon, _ = line.partition(":")
    lines[number] = f"{key}: {value}" if colon else f"{line.partition('-')[0]}- {value}"
    return "\n".join(lines)


@st.composite
def _moved(draw: st.DrawFn, text: str) -> str:
    """Leave out, repeat, indent or put elsewhere a line."""
    lines = text.split("\n")
    number = draw(st.integers(0, len(lines) - 1))
    line, how = lines.pop(number), draw(st.sampled_from(["out", "again", "deeper", "elsewhere"]))
    if how == "again":
        lines[number:number] = [line, line]
    elif how == "deeper":
        lines.insert(number, "  " + line)
    elif how == "elsewhere":
        lines.insert(draw(st.integers(0, len(lines))), line)
    return "\n".join(lines)


@st.composite
def _torn(draw: st.DrawFn, text: str) -> str:
    """Put other characters in place of some."""
    at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 5))
    middle = draw(st.one_of(st.sampled_from(VALUES), st.text(max_size=3)))
    return text[:at] + middle + text[at + length :]


@st.composite
def mutated(draw: st.DrawFn, texts: list[str]) -> str:
    """Return one of ``texts`` with one to three changes."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 3))):
        how: SearchStrategy[str] = draw(st.sampled_from([_replaced(text)] * 3 + [_moved(text), _torn(text)]))
        text = draw(how)
    return text
