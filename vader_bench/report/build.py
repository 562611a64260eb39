"""From a results folder to its report: figure, tables, page and provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vader_bench.files import write_bytes, write_json
from vader_bench.records.provenance import code_digest, git_state, package_versions
from vader_bench.records.record import Record
from vader_bench.report.agreement import ReferenceAgreement, compare_results
from vader_bench.report.contact_sheet import contact_sheet
from vader_bench.report.course_figure import draw_course
from vader_bench.report.curves import curves_frame, frame_csv
from vader_bench.report.distance import Distances, read_distances
from vader_bench.report.distance_figure import draw_distances
from vader_bench.report.documents import sections, summary_latex, summary_markdown
from vader_bench.report.figure import draw
from vader_bench.report.load import Results, load_results
from vader_bench.report.notes import reading_notes
from vader_bench.report.page import page_html
from vader_bench.report.reported import PROVENANCE_NAME, read_reported
from vader_bench.report.stopping import Stopping, read_stopping
from vader_bench.report.summary import pairs_frame, summary_frame
from vader_bench.stats import LEVEL, RESAMPLES, Analysis

__all__ = ["Report", "build_report"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found and what was written."""

    results: Results
    analyses: dict[str, Analysis]
    """By reward, without rewards of which no seed is complete."""
    agreements: list[ReferenceAgreement] | None
    """The comparison with the reference; ``None`` where none was given."""
    files: tuple[Path, ...]

    @property
    def not_improved(self) -> list[str]:
        """Return the trained arms whose held-out gain is not above zero by interval, as ``arm on reward``."""
        return [
            f"{arm.name} on {reward}"
            for reward, analysis in self.analyses.items()
            for arm in analysis.arms
            if arm.seeds and not arm.statistics["gain"].above_zero
        ]


def build_report(
    results_dir: Path,
    reference_dir: Path | None = None,
    allow_missing: bool = False,
    *,
    command: str | None = None,
    width: float | None = None,
) -> Report:
    """Write the report of ``results_dir`` into it, each file whole or not at all.

    The figure (``<experiment>.png``, ``.svg``, ``.pdf``), ``curves.csv``, ``summary.csv``, ``pairs.csv``,
    ``summary.md``, ``tables.tex``, ``report.html``, where there is something to show ``course.png`` and
    ``distance.png`` (also ``.svg``, ``.pdf``), ``distance.csv``, ``fits.csv``, ``stopping.csv`` and
    ``samples.jpg``, and last ``provenance.json`` with the digests of all others.

    Args:
        results_dir: ``results/<experiment>/<suite>``.
        reference_dir: the results folder to agree with.
        allow_missing: report although records are missing, and say ``missing`` where they are.
        command: what made the results; by default what an earlier report or the records say.
        width: of the figure in inches, as a column of a paper has; by default by the number of rewards.

    Raises:
        UserError: see ``load_results``; or runs that cannot be compared; or the disk refuses.
    """
    results = load_results(results_dir, allow_missing=allow_missing)
    reference = None if reference_dir is None else load_results(reference_dir, allow_missing=True)
    analyses = results.analyses()
    agreements = None if reference is None else compare_results(results, reference)
    provenance = _provenance(results, reference, command or _command(results))
    notes = reading_notes(results, analyses)
    distances, stopping = read_distances(results, analyses), read_stopping(results)
    said = sections(results, analyses, [part for part in (distances, stopping) if part is not None])
    drawings = _drawings(results, analyses, distances, width)
    page = page_html(
        results,
        analyses,
        said,
        drawings={name: kinds["svg"] for name, kinds in drawings.items()},
        agreements=agreements,
        notes=notes,
        provenance=provenance,
    )
    outputs = {
        **_figure_files(results, drawings),
        **_tables(results, analyses, distances, stopping),
        "summary.md": summary_markdown(results, analyses, said, notes).encode(),
        "tables.tex": summary_latex(results, analyses, said).encode(),
        "report.html": page.encode(),
    }
    sheet = contact_sheet(results)
    outputs |= {} if sheet is None else {"samples.jpg": sheet}
    _delete_others(results_dir, outputs)
    provenance["outputs"] = {file: hashlib.sha256(data).hexdigest() for file, data in outputs.items()}
    for file, data in outputs.items():
        write_bytes(results_dir / file, data)
    write_json(results_dir / PROVENANCE_NAME, provenance)
    written = tuple(results_dir / file for file in (*outputs, PROVENANCE_NAME))
    return Report(results=results, analyses=analyses, agreements=agreements, files=written)


def _drawings(
    results: Results, analyses: dict[str, Analysis], distances: Distances | None, width: float | None
) -> dict[str, dict[str, bytes]]:
    """Return ``figure``, and ``course`` and ``distance`` where they were measured, each by kind of file."""
    drawn = {
        "figure": draw(results, analyses, width),
        "course": draw_course(results, analyses),
        "distance": None if distances is None else draw_distances(results, distances),
    }
    return {name: kinds for name, kinds in drawn.items() if kinds is not None}


def _figure_files(results: Results, drawings: dict[str, dict[str, bytes]]) -> dict[str, bytes]:
    """Return the drawings by file; the figure is called after its experiment."""
    names = {"figure": results.experiment.experiment}
    return {
        f"{names.get(name, name)}.{kind}": data
        for name, kinds in drawings.items()
        for kind, data in kinds.items()
    }


def _delete_others(folder: Path, outputs: Collection[str]) -> None:
    """Delete what an earlier report wrote to ``folder`` and this one does not, as its provenance has it."""
    path = folder / PROVENANCE_NAME
    for name in read_reported(folder).outputs if path.exists() else ():
        if name not in outputs:
            (folder / name).unlink(missing_ok=True)


def _tables(
    results: Results, analyses: dict[str, Analysis], distances: Distances | None, stopping: Stopping | None
) -> dict[str, bytes]:
    """Return the tables for other programs, by file."""
    frames = {
        "curves": curves_frame(results),
        "summary": summary_frame(results, analyses),
        "pairs": pairs_frame(analyses),
    }
    if distances is not None:
        frames |= {"distance": distances.points_frame(), "fits": distances.fits_frame()}
    if stopping is not None:
        frames["stopping"] = stopping.frame()
    return {f"{name}.csv": frame_csv(frame).encode() for name, frame in frames.items()}


def _command(results: Results) -> str:
    """Return the command that made the results: making a report again does not make them."""
    path = results.folder / PROVENANCE_NAME
    told = read_reported(results.folder).command if path.exists() else ""
    if told and not told.startswith("vader-bench report "):
        return told
    known = dict.fromkeys(record.command for record in results.records.values() if record.command)
    return "; ".join(known) or f"vader-bench report {results.folder}"


def _provenance(results: Results, reference: Results | None, command: str) -> dict[str, Any]:
    """Return where the numbers come from; several values where runs differ."""
    records = list(results.records.values())
    return {
        "version": 1,
        "experiment": results.experiment.experiment,
        "suite": results.suite,
        "command": command,
        "records": results.digests,
        "missing": list(results.missing),
        "unused": list(results.unused),
        "reference": None if reference is None else reference.digests,
        "runs": {
            "taken_from": {record.name: record.taken_from for record in records if record.taken_from},
            "git": _distinct([record.git for record in records]),
            "code": _distinct([record.digests.get("code") for record in records]),
            "packages": _distinct([record.packages for record in records]),
            "machines": _distinct([record.machine for record in records]),
            "digests": _distinct([_inputs(record) for record in records]),
        },
        "report": {"git": git_state(), "code": code_digest(), "packages": package_versions()},
        "statistics": {"resamples": RESAMPLES, "level": LEVEL, "root_seed": 0},
    }


def _inputs(record: Record) -> dict[str, str]:
    return {name: digest for name, digest in record.digests.items() if name != "code"}


def _distinct(values: Sequence[Any]) -> list[Any]:
    return [value for index, value in enumerate(values) if value not in values[:index]]
