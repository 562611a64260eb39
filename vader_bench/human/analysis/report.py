"""From a study's answers to its folder of results: numbers, tables, forest plot and page."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from vader_bench import files
from vader_bench.config.schema import Strict
from vader_bench.human.analysis.estimates import StudyAnalysis, analyse_study
from vader_bench.human.analysis.forest import draw_forest
from vader_bench.human.analysis.tables import (
    agreement_table,
    flow_table,
    habits_table,
    narrow_table2,
    ranking_table,
    responses_csv,
    table2,
    table2_csv,
)
from vader_bench.human.analysis.words import banner, findings, rules, stamped, warnings
from vader_bench.human.plan import Built, load_built
from vader_bench.human.responses import Ingested, load_ingested
from vader_bench.records.provenance import code_digest
from vader_bench.report.html import render
from vader_bench.report.page import TEMPLATES
from vader_bench.report.paper import PAPER
from vader_bench.report.tables import Table, latex, markdown
from vader_bench.stats.bootstrap import Estimate
from vader_bench.stats.preference import MIN_CLUSTERS

__all__ = ["ANALYSIS", "StudyReport", "build_study_report", "study_outputs"]

ANALYSIS: Final = "analysis"
"""Folder of the results, in the folder of a study."""


@dataclass(frozen=True)
class StudyReport:
    """What was found and what was written."""

    analysis: StudyAnalysis
    table: Table
    """The main table, for a terminal or a page of paper."""
    findings: list[str]
    warnings: list[str]
    files: tuple[Path, ...]


def build_study_report(folder: Path, published: str | None = None) -> StudyReport:
    """Analyse the answers in ``folder`` and write what was found to ``folder/analysis/``.

    Args:
        folder: what ``study build`` wrote and ``study ingest`` added to.
        published: SHA-256 of the plan as it was published.

    Raises:
        UserError: plan, key or answers are missing or do not go together; or the disk refuses.
    """
    built, ingested = load_built(folder), load_ingested(folder)
    analysis = analyse_study(ingested, built, published)
    outputs = study_outputs(analysis, ingested, built)
    for name, data in outputs.items():
        files.write_bytes(folder / ANALYSIS / name, data)
    written = tuple(folder / ANALYSIS / name for name in outputs)
    table = narrow_table2(analysis)
    return StudyReport(analysis, table, findings(analysis, built.plan), warnings(analysis), written)


def study_outputs(analysis: StudyAnalysis, ingested: Ingested, built: Built) -> dict[str, bytes]:
    """Return all files by name, the same bytes for the same answers and code."""
    figure = draw_forest(analysis, built.plan)
    texts = {
        "analysis.json": _json(analysis, built),
        "table2.csv": table2_csv(analysis),
        "table2.md": _markdown(analysis, built),
        "table2.tex": "".join(f"% {line}\n" for line in banner(analysis))
        + latex(narrow_table2(analysis), f"study-{analysis.study}"),
        "responses.csv": responses_csv(ingested, built, analysis),
        "report.html": _page(analysis, built, figure["svg"]),
    }
    pictures = {f"forest.{kind}": data for kind, data in figure.items()}
    return {**{name: text.encode() for name, text in texts.items()}, **pictures}


def _markdown(analysis: StudyAnalysis, built: Built) -> str:
    lines = [f"**{line}**\n" for line in banner(analysis)]
    lines += [f"# {built.plan.title}", ""]
    lines += [f"* {line}" for line in findings(analysis, built.plan)]
    paper = [PAPER["table2"]] if analysis.paper else []
    raters = [agreement_table(analysis), habits_table(analysis), flow_table(analysis)]
    for table in (table2(analysis), *paper, *raters):
        lines += ["", f"## {table.title}", "", *markdown(table)]
    if (ranking := ranking_table(analysis)) is not None:
        lines += ["", f"## {ranking.title}", "", *markdown(ranking)]
    return "\n".join([*lines, ""])


def _json(analysis: StudyAnalysis, built: Built) -> str:
    data = {
        "stamps": analysis.stamps,
        "findings": findings(analysis, built.plan),
        "warnings": warnings(analysis),
        "arms": built.key.arms,
        "plan": built.plan.model_dump(mode="json"),
        "code": code_digest(),
        **_plain(analysis),
    }
    return json.dumps(data, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON can say it: no NaN, keys of one text, reasons where there is no number."""
    if isinstance(value, Estimate):
        if value.absent:
            return {"absent": value.absent}
        return {name: _plain(getattr(value, name)) for name in ("value", "low", "high")}
    if isinstance(value, Strict):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else " over ".join(key): _plain(of) for key, of in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(of) for of in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _page(analysis: StudyAnalysis, built: Built, forest: bytes) -> str:
    drawing = forest.decode()
    values = {
        "analysis": analysis,
        "plan": built.plan,
        "title": stamped(analysis, built.plan.title),
        "warnings": warnings(analysis),
        "findings": findings(analysis, built.plan),
        "table2": table2(analysis),
        "paper": PAPER["table2"] if analysis.paper else None,
        "few": MIN_CLUSTERS,
        "forest": Markup(drawing[drawing.index("<svg") :]),  # noqa: S704 -- drawn by this package
        "agreement": agreement_table(analysis),
        "habits": habits_table(analysis),
        "flow": flow_table(analysis),
        "ranking": ranking_table(analysis),
        "rules": rules(built.plan),
        "digests": {"plan": analysis.plan_sha256, "key": built.plan.key_sha256, "code": code_digest()},
    }
    return render(TEMPLATES / "study.html.j2", values)
