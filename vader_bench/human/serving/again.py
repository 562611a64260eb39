"""Which blocks a study still needs although they were answered."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.human.plan import Built
from vader_bench.human.responses import load_ingested

__all__ = ["blocks_again"]


def blocks_again(built: Built, results: Path) -> list[str]:
    """Return the blocks in ``results`` of which no answer is used: all were left out, or refused as rows.

    Args:
        built: the study. Its answers were read from ``results`` and maybe other files.
        results: the results file of its server, with all that came in.

    Raises:
        UserError: no answers were read yet, or ``results`` as it stands is none of the files they are from.
    """
    ingested = load_ingested(built.folder)
    if files.sha256_file(results) not in {source.sha256 for source in ingested.sources}:
        wrong = "holds other answers than `study ingest` has read"
        remedy = "run it on this file, and on all others of the study, before blocks are given out again"
        raise UserError(str(results), wrong, remedy)
    table = csv.DictReader(io.StringIO(files.read_text(results), newline=""))
    answered = {row.get("Input.block_id") or "" for row in table} - {""}
    return sorted(answered - {one.block for one in ingested.used})
