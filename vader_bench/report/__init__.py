"""Reports of results folders: tables, figure, page. Needs no torch."""

from __future__ import annotations

from vader_bench.report.agreement import ReferenceAgreement, agreement_lines, compare_results
from vader_bench.report.build import Report, build_report
from vader_bench.report.curves import curves_frame
from vader_bench.report.documents import summary_markdown
from vader_bench.report.load import Results, load_results
from vader_bench.report.summary import pairs_frame, summary_frame
from vader_bench.report.verdicts import verdicts

__all__ = [
    "ReferenceAgreement",
    "Report",
    "Results",
    "agreement_lines",
    "build_report",
    "compare_results",
    "curves_frame",
    "load_results",
    "pairs_frame",
    "summary_frame",
    "summary_markdown",
    "verdicts",
]
