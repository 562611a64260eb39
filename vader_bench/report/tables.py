"""Tables for reading, as Markdown and as LaTeX, and for programs, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vader_bench.report.words import number

__all__ = ["Table", "csv_text", "latex", "markdown", "plain", "safe_cell"]

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


def plain(table: Table) -> list[str]:
    """Return the lines of ``table`` for a terminal, its title first, columns under each other."""
    lines = [table.head, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    cells = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return [table.title, *("  ".join(line).rstrip() for line in cells)]


def csv_text(head: Sequence[str], rows: Iterable[Sequence[str | int | float]]) -> str:
    """Return rows as CSV; floats have nine significant digits, NaN is empty.

    Text is made safe: some of it was written by people who are not known.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_csv_cell(value) for value in row] for row in rows)
    return table.getvalue()


def safe_cell(text: str) -> str:
    """Return ``text``, with an apostrophe in front where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


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


def _csv_cell(value: str | int | float) -> str:
    if not isinstance(value, str):
        return number(value) if isinstance(value, float) else str(value)
    return safe_cell(value)


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)
