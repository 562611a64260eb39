"""Tables for reading, as Markdown and as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Table", "latex", "markdown"]

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$",
}  # fmt: skip


class Table(NamedTuple):
    """A table for reading; the first column names the rows."""

    title: str
    head: list[str]
    rows: list[list[str]]


def markdown(table: Table) -> list[str]:
    """Return the lines of ``table`` as Markdown, without its title."""

    def line(values: Sequence[str]) -> str:
        return f"| {' | '.join(value.replace('|', '/') for value in values)} |"

    rule = ["---"] + ["---:"] * (len(table.head) - 1)
    return [line(table.head), line(rule), *map(line, table.rows)]


def latex(table: Table, label: str) -> str:
    """Return ``table`` as a LaTeX float that needs the package booktabs."""

    def line(values: Sequence[str]) -> str:
        return " & ".join(map(_escaped, values)) + r" \\"

    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escaped(table.title)}}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
            r"\toprule",
            line(table.head),
            r"\midrule",
            *map(line, table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)
