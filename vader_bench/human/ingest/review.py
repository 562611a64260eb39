"""The requester's file: a platform's rows with the columns filled by which work is approved or rejected."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Final

from vader_bench.human.ingest.results_file import REVIEW, ResultsFile, Row
from vader_bench.report.tables import safe_cell

__all__ = ["APPROVED", "review_file"]

APPROVED: Final = "x"


def review_file(table: ResultsFile, unpaid: Mapping[tuple[str, str, str, str], Sequence[str]]) -> str:
    """Return ``table`` as CSV text with ``x`` under Approve, or why not under Reject.

    Both stay empty where a row was refused, so that a person decides; where the platform has decided; and
    where one of the two was filled before. All cells are made safe to open in a spreadsheet: the name of an
    account may begin a formula as well as an answer may.

    Args:
        table: a results file.
        unpaid: why it is not to be paid, mostly nothing, by the ``work`` of the rows that were accepted.
    """
    added = [column for column in REVIEW if column not in table.header]
    header = [*table.header, *added]
    places = [header.index(column) for column in REVIEW]
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(map(safe_cell, header))
    for row in table.rows:
        cells = [*row.cells, *[""] * (len(header) - len(row.cells))]
        if len(row.cells) != len(table.header):
            writer.writerow(map(safe_cell, cells))
            continue
        cells = [safe_cell(cell) for cell in cells]
        if not any(cells[place] for place in places):
            for place, verdict in zip(places, _verdict(row, unpaid), strict=True):
                cells[place] = verdict
        writer.writerow(cells)
    return text.getvalue()


def _verdict(row: Row, unpaid: Mapping[tuple[str, str, str, str], Sequence[str]]) -> tuple[str, str]:
    reasons = unpaid.get(row.work)
    if reasons is None or row.status != "Submitted":
        return "", ""
    return ("", "; ".join(reasons)) if reasons else (APPROVED, "")
