"""``study analyze``: what people preferred."""

from __future__ import annotations

from typing import Annotated

import typer

from vader_bench.cli.study._options import Folder

__all__ = ["command"]


def command(
    folder: Folder,
    plan_sha256: Annotated[
        str | None, typer.Option("--plan-sha256", help="SHA-256 of the plan as it was published.")
    ] = None,
) -> None:
    """Say what people preferred, with intervals and tests, and write tables, forest plot and page."""
    from vader_bench.human.analysis.report import build_study_report
    from vader_bench.report.tables import plain

    report = build_study_report(folder, plan_sha256)
    for line in [*plain(report.table), "", *report.findings]:
        typer.echo(line)
    for line in report.warnings:
        typer.echo(f"  warning: {line}")
    typer.echo(f"written: {', '.join(path.name for path in report.files)}")
    typer.echo(f"in: {report.files[0].parent}")
