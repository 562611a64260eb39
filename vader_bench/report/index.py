"""One page over all reports: what was asked, what came out, and where it stands. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd

from vader_bench.errors import ExitCode, UserError
from vader_bench.files import read_text, write_text
from vader_bench.records.packed import stored_digest
from vader_bench.records.record_file import RECORD_NAME, has_record
from vader_bench.report.html import render
from vader_bench.report.load import Results, load_results
from vader_bench.report.page import TEMPLATES, video_rows
from vader_bench.report.reported import PROVENANCE_NAME, Reported, read_reported
from vader_bench.report.tables import Table
from vader_bench.report.words import estimate_text
from vader_bench.stats import Estimate

__all__ = ["INDEX_NAME", "Index", "write_index"]

INDEX_NAME = "index.html"
_NUMBERS: Final = tuple(
    f"{name}{end}" for name in ("gain", "heldout_reward") for end in ("", "_low", "_high")
)
"""Columns of the summary that the page shows."""
_FIRST = ("fig7", "table1")
"""The experiments that answer the main question."""


@dataclass(frozen=True)
class Card:
    """One report on the page."""

    path: str
    """Of its folder, relative to the page."""
    page: str
    """Of the report; what ``keep`` left has its summary alone."""
    experiment: str
    suite: str
    question: str
    figure: str
    table: Table
    gains: list[str]
    """By reward, which arms end above the base model by interval, and by how much."""
    videos: list[dict[str, str]]
    warnings: list[str]
    budget: int
    seeds: int
    records: int
    command: str
    commits: list[str]
    files: list[str]

    @property
    def anchor(self) -> str:
        """Return the name of its place on the page."""
        return re.sub(r"[^a-z0-9]+", "-", self.path.lower()).strip("-")


class Index(NamedTuple):
    """The page, and what is wrong with each folder of results that it could not read."""

    path: Path
    broken: list[str]


def write_index(folder: Path) -> Index:
    """Write ``index.html`` over every report at any depth below ``folder``.

    The main experiments come first, then the others by name. Numbers are those of each report's
    ``summary.csv``. A record that is gone or was changed since the report was made is named, and so is what
    is wrong with a folder that cannot be read.

    Raises:
        UserError: there is no such folder, or the disk refuses.
    """
    if not folder.is_dir():
        remedy = "give a folder with results, such as `results`"
        raise UserError(str(folder), "is no folder", remedy, exit_code=ExitCode.MISSING)
    found = (path.parent for path in folder.rglob(PROVENANCE_NAME))
    reports = sorted(report for report in found if (report / "runs").is_dir())  # not MLflow's copies
    cards, broken = [], []
    for report in reports:
        try:
            cards.append(_card(folder, report))
        except UserError as error:
            broken.append(str(error))
    cards.sort(key=lambda card: (_place(card), card.path))
    page = render(
        TEMPLATES / "index.html.j2", {"folder": folder.resolve().name, "cards": cards, "broken": broken}
    )
    write_text(folder / INDEX_NAME, page)
    return Index(folder / INDEX_NAME, broken)


def _summary(path: Path) -> pd.DataFrame:
    """Return the report's table of arms, each number of it a number or empty.

    Raises:
        UserError: it is not as a report writes it.
    """
    remedy = "make the report again"
    try:
        found = pd.read_csv(StringIO(read_text(path)), keep_default_na=False, dtype=str)
        lacking = [name for name in ("reward", "method", *_NUMBERS) if name not in found]
        for low in (name for name in _NUMBERS if name.endswith("_low") and not lacking):
            columns = [low.removesuffix("_low"), low, low.removesuffix("_low") + "_high"]
            found.loc[found[low] != "", columns].astype(float)  # what the page takes for numbers
    except ValueError as error:  # also pandas' own for what is no table
        raise UserError(str(path), "is no table as a report writes it", remedy) from error
    if lacking:
        raise UserError(str(path), f"has no column {lacking[0]}", remedy)
    return found


def _place(card: Card) -> int:
    return _FIRST.index(card.experiment) if card.experiment in _FIRST else len(_FIRST)


def _card(folder: Path, report: Path) -> Card:
    provenance = read_reported(report)
    warnings = list(_warnings(report, provenance))
    results = load_results(report, allow_missing=True)
    experiment = results.experiment
    summary = _summary(report / "summary.csv")
    return Card(
        path=report.relative_to(folder).as_posix(),
        page="report.html" if (report / "report.html").is_file() else "summary.md",
        experiment=experiment.experiment,
        suite=provenance.suite,
        question=experiment.question,
        figure=f"{experiment.experiment}.png",
        table=_table(summary),
        gains=list(_gains(summary)),
        videos=list(_videos(results)),
        warnings=warnings,
        budget=experiment.budget.reward_queries,
        seeds=len(experiment.seeds),
        records=len(provenance.records),
        command=provenance.command,
        commits=provenance.commits,
        files=[*provenance.outputs, PROVENANCE_NAME],
    )


def _warnings(report: Path, provenance: Reported) -> Iterator[str]:
    if provenance.missing:
        yield f"Missing runs: {', '.join(provenance.missing)}."
    for name, digest in provenance.records.items():
        run = report / "runs" / name
        if not has_record(run):
            yield f"The record of {name} is gone since the report was made."
        elif stored_digest(run / RECORD_NAME) != digest:
            yield f"The record of {name} was changed since the report was made: report again."


def _gains(summary: pd.DataFrame) -> Iterator[str]:
    """Yield a line a reward: the arms whose gain is above zero by interval, the largest first."""
    for reward, rows in summary.groupby("reward", sort=False):
        gains = {
            row["method"]: Estimate(float(row["gain"]), float(row["gain_low"]), float(row["gain_high"]))
            for _, row in rows.iterrows()
            if row["gain_low"]
        }
        above = sorted(
            (name for name in gains if gains[name].above_zero), key=lambda name: -gains[name].value
        )
        said = (f"{name} {estimate_text(gains[name])}" for name in above)
        yield f"{reward}: {', '.join(said) or 'no arm'}"


def _table(frame: pd.DataFrame) -> Table:
    """Return held-out rewards by arm and reward, as the report's summary has them."""
    rewards = list(dict.fromkeys(frame["reward"]))
    arms = list(dict.fromkeys(frame["method"]))
    texts = {(row["method"], row["reward"]): _text(row) for _, row in frame.iterrows()}
    rows = [[arm, *(texts.get((arm, reward), "") for reward in rewards)] for arm in arms]
    return Table("Held-out reward at equal queries", ["", *rewards], rows)


def _text(row: pd.Series) -> str:
    value, low, high = (str(row[f"heldout_reward{end}"]) for end in ("", "_low", "_high"))
    if not low:
        return value
    return estimate_text(Estimate(float(value), float(low), float(high)))


def _videos(results: Results) -> Iterator[dict[str, str]]:
    """Yield the first prompt's videos of each reward."""
    for reward in results.experiment.rewards:
        for prompt, row in video_rows(results, reward)[:1]:
            for cell in row:
                if cell.source is not None:
                    yield {"arm": cell.arm, "prompt": prompt, "source": cell.source, "reward": reward}
