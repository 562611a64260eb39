"""What ``run`` and ``report`` share: building a report and saying what it found. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from vader_bench.errors import ExitCode
from vader_bench.records.provenance import repository_root
from vader_bench.records.tracking import Tracker
from vader_bench.report import Report, agreement_lines, build_report, verdicts
from vader_bench.report.words import Kind, estimate_text

__all__ = ["file_lines", "reference_folder", "show_report"]

_COLUMNS: dict[str, tuple[str, Kind]] = {
    "held-out reward": ("heldout_reward", "reward"),
    "gain over base": ("gain", "reward"),
    "fewer queries than the best baseline": ("queries_speed_up", "times"),
}


def reference_folder(folder: Path) -> Path | None:
    """Return the committed results that ``folder`` should agree with, if there are any."""
    experiment = folder.resolve().parent.name.removesuffix("-quick")
    reference = repository_root() / "results" / "reference" / experiment / folder.resolve().name
    return reference if reference.is_dir() and reference != folder.resolve() else None


def show_report(
    folder: Path,
    tracker: Tracker | None = None,
    *,
    allow_missing: bool = False,
    command: str | None = None,
    width: float | None = None,
) -> int:
    """Build the report of ``folder``, print its summary and where its files are; return the exit code."""
    report = build_report(folder, reference_folder(folder), allow_missing, command=command, width=width)
    if tracker is not None:
        tracker.send_report(report.files)
    console = Console()
    for reward, analysis in report.analyses.items():
        console.print(_table(report, reward))
        _say(console, verdicts(analysis, report.results.methods, report.results.families()))
    if report.agreements is not None:
        _say(console, agreement_lines(report.agreements))
    _say(console, file_lines(report.files))
    if tracker is not None:
        tracker.finish()
        _say(console, [f"MLflow: {tracker.address.command}", *tracker.charts()])
    return _verdict(report)


def file_lines(paths: Sequence[Path]) -> list[str]:
    """Return a line a file, its name and where it is, one below the other."""
    wide = max([17, *(len(path.name) for path in paths)])
    return [f"{path.name:<{wide}} {path}" for path in paths]


def _table(report: Report, reward: str) -> Table:
    table = Table("", *_COLUMNS, title=f"{reward} ({report.results.suite})", title_justify="left")
    for arm in report.analyses[reward].arms:
        found = [(arm.statistics.get(key), kind) for key, kind in _COLUMNS.values()]
        table.add_row(arm.name, *("" if one is None else estimate_text(one, kind) for one, kind in found))
    return table


def _say(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _verdict(report: Report) -> int:
    """Say whether every method improved, where the experiment asks for it."""
    if not report.results.experiment.must_improve:
        return ExitCode.DONE
    if report.not_improved:
        typer.echo(f"FAILED: not above the base model by interval: {', '.join(report.not_improved)}")
        return ExitCode.RUN_FAILED
    typer.echo("passed: every method is above the base model on held-out prompts, by interval")
    return ExitCode.DONE
