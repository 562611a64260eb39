"""The page: findings, figure, tables, videos side by side, agreement, settings, provenance; one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vader_bench.config.names import BASE, HELDOUT, run_name
from vader_bench.records.packed import stored
from vader_bench.records.record import EXTENDED, SAMPLE_PROMPTS, Record, VideoScore
from vader_bench.records.record_file import RECORD_NAME
from vader_bench.report.agreement import ReferenceAgreement, agreement_lines
from vader_bench.report.documents import Section
from vader_bench.report.html import render
from vader_bench.report.load import Results
from vader_bench.report.paper import paper_table
from vader_bench.report.summary import overview_table
from vader_bench.report.tables import Table
from vader_bench.report.words import estimate_text, quantity
from vader_bench.stats import Analysis
from vader_bench.stats.aggregate import spent

__all__ = ["TEMPLATES", "Cell", "page_html", "video_rows"]

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Cell:
    """One video of a row."""

    arm: str
    source: str | None
    """Path relative to the results folder; ``None`` where the file is missing."""
    scores: str


def page_html(
    results: Results,
    analyses: dict[str, Analysis],
    said: Sequence[Section],
    *,
    drawings: Mapping[str, bytes],
    agreements: Sequence[ReferenceAgreement] | None,
    notes: Sequence[str],
    provenance: dict[str, Any],
) -> str:
    """Return the page. It opens from disk and needs nothing but the videos beside it.

    Args:
        results: what was run.
        analyses: the statistics by reward.
        said: findings and tables by reward.
        drawings: as SVG the ``figure`` and, where they were measured, ``course`` and ``distance``.
        agreements: the comparison with a reference, or ``None`` where none was given.
        notes: how to read the numbers.
        provenance: what ``provenance.json`` says.
    """
    videos = {section.reward: video_rows(results, section.reward) for section in said}
    values = {
        "results": results,
        "sections": [{**section._asdict(), "videos": videos[section.reward]} for section in said],
        "filmed": any(cell.source for rows in videos.values() for _, cells in rows for cell in cells),
        "overview": overview_table(results, analyses),
        "paper": paper_table(results.experiment.paper),
        "drawings": {name: _inline(svg) for name, svg in drawings.items()},
        "agreement": None if agreements is None else _agreement(agreements),
        "settings": _settings(results),
        "spending": _spending(results),
        "arms": [BASE, *results.methods],
        "records": _records(results),
        "notes": notes,
        "provenance": provenance,
    }
    return render(TEMPLATES / "report.html.j2", values)


def _inline(svg: bytes) -> Markup:
    drawing = svg.decode()
    return Markup(drawing[drawing.index("<svg") :])  # noqa: S704 -- drawn by this package


def video_rows(results: Results, reward: str) -> list[tuple[str, list[Cell]]]:
    """Return for each prompt the videos of the base model and of every method, from the same noise.

    They are those of the first seed of the experiment; where videos were made longer too, those follow.
    """
    seed = results.experiment.seeds[0]
    arms = [BASE, *results.methods]
    records = {arm: results.records.get(run_name(arm, reward, seed)) for arm in arms}
    prompts = next((_final_scores(record) for record in records.values() if record is not None), {})
    longer = any(record is not None and record.extensions for record in records.values())
    return [
        (
            prompt if kind == HELDOUT else f"{prompt}, made longer",
            [
                _cell(results.folder, reward, arm, records[arm], (prompt, seed, f"{kind}-{index}"))
                for arm in arms
            ],
        )
        for kind in ([HELDOUT, EXTENDED] if longer else [HELDOUT])
        for index, prompt in enumerate(list(prompts)[:SAMPLE_PROMPTS])
    ]


def _cell(folder: Path, reward: str, arm: str, record: Record | None, video: tuple[str, int, str]) -> Cell:
    prompt, seed, file = video
    source = f"runs/{run_name(arm, reward, seed)}/samples/{file}.mp4"
    if record is not None and not file.startswith(HELDOUT):
        found = next((e.rewards for e in record.extensions if e.prompt == prompt), [])
        words = f"{reward} by chunk: {', '.join(f'{value:.4g}' for value in found)}"
        return Cell(arm, source if (folder / source).is_file() else None, words)
    score = None if record is None else _final_scores(record).get(prompt)
    if score is None:
        words = "score missing"
    else:
        gold = "" if score.gold is None else f", truth {score.gold:.4g}"
        share = "" if score.prompt_share is None else f", share of the prompt {score.prompt_share:.2f}"
        words = f"{reward} {score.reward:.4g}{gold}{share}{_verdict(record, prompt)}"
    return Cell(arm, source if (folder / source).is_file() else None, words)


def _verdict(record: Record | None, prompt: str) -> str:
    """Return what the reward model said of the video, where it said something."""
    samples = [] if record is None else record.samples
    said = next((sample.verdict for sample in samples if sample.prompt == prompt), "")
    return f"; it sees {said}" if said else ""


def _final_scores(record: Record) -> dict[str, VideoScore]:
    """Return the scores of the first sample of each held-out prompt, at the end."""
    looks = [evaluation for evaluation in record.evaluations if evaluation.split == HELDOUT]
    last = max(looks, key=lambda evaluation: evaluation.queries)
    return {score.prompt: score for score in last.scores if score.sample == 0}


def _records(results: Results) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return by arm the records that its numbers come from, missing ones among them."""
    experiment = results.experiment
    found = []
    for arm in (BASE, *results.methods):
        names = [run_name(arm, reward, s) for reward in experiment.rewards for s in results.seeds(arm)]
        found.append(
            (
                arm,
                [{"name": n, "path": _path(results, n), "there": n in results.records} for n in names],
            )
        )
    return found


def _path(results: Results, run: str) -> str:
    """Return where a run's record is, from the page."""
    return stored(results.folder / "runs" / run / RECORD_NAME).relative_to(results.folder).as_posix()


def _agreement(agreements: Sequence[ReferenceAgreement]) -> dict[str, Any]:
    head = ["", "queries", "here", "reference", "difference", "seeds", "agrees"]
    rows = [
        [
            f"{a.method}, {a.reward}",
            str(a.queries),
            estimate_text(a.own),
            estimate_text(a.reference),
            estimate_text(a.difference),
            f"{a.seeds[0]} and {a.seeds[1]}",
            f"{'yes' if a.agrees else 'no'}{a.proviso}",
        ]
        for a in agreements
        if a.agrees is not None
    ]
    return {"lines": agreement_lines(agreements), "table": Table("Agreement", head, rows)}


def _settings(results: Results) -> Table:
    """Return the settings of every method, by reward where they differ."""
    found: dict[tuple[str, str], list[str]] = {}
    for reward in results.experiment.rewards:
        for method in results.methods:
            for record in results.of(reward, method)[:1]:
                settings = ", ".join(f"{key} {value}" for key, value in record.asked.settings.items())
                found.setdefault((method, settings), []).append(reward)
    rows = [[method, ", ".join(rewards), settings] for (method, settings), rewards in found.items()]
    return Table("Settings", ["method", "rewards", "settings"], rows)


def _spending(results: Results) -> Table:
    """Return what a run of each method spends, its seeds put together as everywhere."""
    head = [
        "", "reward queries", "of them with gradient", "frames scored", "denoiser forwards",
        "denoiser backwards", "frames decoded", "FLOPs", "device time",
    ]  # fmt: skip
    counts = (
        "reward_queries", "gradient_queries", "frames_scored", "denoiser_forwards", "denoiser_backwards",
        "vae_decodes",
    )  # fmt: skip
    rows = []
    for reward in results.experiment.rewards:
        for method in results.methods:
            ledgers = [record.ledger for record in results.counted(reward, method)]
            if not ledgers:
                continue
            flops, seconds = spent(ledgers, "flops"), spent(ledgers, "device_seconds")
            measured = [quantity(flops, "flops"), quantity(seconds, "seconds")]
            rows.append([f"{method}, {reward}", *(f"{spent(ledgers, key):.0f}" for key in counts), *measured])
    return Table("Spent by a run", head, rows)
