"""What a report says of each reward, put together once, and the summary as Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from vader_bench.report.load import Results
from vader_bench.report.measures import findings, measure_tables
from vader_bench.report.paper import paper_table
from vader_bench.report.summary import overview_table, pairs_table, statistics_tables
from vader_bench.report.tables import Table, latex, markdown
from vader_bench.report.verdicts import verdicts
from vader_bench.stats import Analysis

__all__ = ["Extra", "Section", "sections", "summary_latex", "summary_markdown"]


class Extra(Protocol):
    """What some experiments find beside the rest."""

    def tables(self, reward: str) -> list[Table]:
        """Return its tables on ``reward``."""

    def findings(self, reward: str) -> list[str]:
        """Return its sentences on ``reward``."""


class Section(NamedTuple):
    """What is said of one reward."""

    reward: str
    findings: list[str]
    tables: list[Table]


def sections(results: Results, analyses: dict[str, Analysis], more: Sequence[Extra] = ()) -> list[Section]:
    """Return what is said of each reward of ``results``; ``missing`` where no seed is complete.

    Args:
        results: what was run.
        analyses: the statistics by reward.
        more: what else was found, said after everything else.
    """
    return [_section(results, reward, analyses.get(reward), more) for reward in results.experiment.rewards]


def summary_markdown(
    results: Results, analyses: dict[str, Analysis], said: Sequence[Section], notes: Sequence[str]
) -> str:
    """Return the summary for reading: by reward the findings, then the tables; at the end the notes."""
    lines = [f"# {results.experiment.experiment} on {results.suite}", "", results.experiment.question, ""]
    first = [overview_table(results, analyses), paper_table(results.experiment.paper)]
    for table in first:
        lines += [f"## {table.title}", "", *markdown(table), ""] if table is not None else []
    for section in said:
        lines += [f"## {section.reward}", "", *(f"* {line}" for line in section.findings), ""]
        for table in section.tables:
            lines += [f"### {table.title}", "", *markdown(table), ""]
    lines += ["## How to read this", "", *(f"* {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def summary_latex(results: Results, analyses: dict[str, Analysis], said: Sequence[Section]) -> str:
    """Return all tables of the report as LaTeX, each a float of its own."""
    name = results.experiment.experiment
    tables = [latex(overview_table(results, analyses), f"{name}-overview")]
    for section in said:
        for index, table in enumerate(section.tables):
            titled = table._replace(title=f"{name}, {section.reward}: {table.title}")
            tables.append(latex(titled, f"{name}-{section.reward}-{index}"))
    return "\n".join(tables)


def _section(results: Results, reward: str, analysis: Analysis | None, more: Sequence[Extra]) -> Section:
    if analysis is None:
        return Section(reward, ["missing"], [])
    said = [*verdicts(analysis, results.methods, results.families()), *findings(results, reward)]
    said += [line for part in more for line in part.findings(reward)]
    tables = [
        *statistics_tables(results, analysis),
        pairs_table(analysis.pairs),
        *measure_tables(results, reward),
        *(table for part in more for table in part.tables(reward)),
    ]
    return Section(reward, said, [table for table in tables if table.rows])
