"""How to read the numbers: the definitions behind a report, in sentences."""

from __future__ import annotations

from collections.abc import Callable

from vader_bench.config.names import UNTRAINED
from vader_bench.records.inputs import most_common
from vader_bench.records.provenance import COMPUTING
from vader_bench.records.record import Record
from vader_bench.report.load import Results
from vader_bench.stats import RESAMPLES, Analysis
from vader_bench.stats.aggregate import FEW_SEEDS, aggregate_name
from vader_bench.stats.compare import POWER

__all__ = ["reading_notes"]


def reading_notes(results: Results, analyses: dict[str, Analysis]) -> list[str]:
    """Return the notes that belong under the tables and the figure of ``results``."""
    notes = [
        _seeds(analyses),
        *_fixed(analyses),
        _adapters(analyses),
        _curve(analyses),
        *_left_out(results),
        _made_otherwise(results, "code", _code),
        _made_otherwise(results, "packages", _packages),
        *_of_runs(results),
    ]
    return [note for note in notes if note]


def _seeds(analyses: dict[str, Analysis]) -> str:
    counts = sorted({len(analysis.panel.seeds) for analysis in analyses.values()})
    if not counts:
        return ""
    if counts == [1]:
        return (
            "One seed: intervals come from resampling prompts only. They say how sure the number is for this "
            "one training run, and nothing about another; no winner is named."
        )
    what = " or ".join(dict.fromkeys(aggregate_name(count) for count in counts))
    seeds = " or ".join(map(str, counts))
    return (
        f"Numbers are the {what} over {seeds} seeds (the interquartile mean from {FEW_SEEDS} seeds on) of "
        "the mean over prompts."
    )


def _fixed(analyses: dict[str, Analysis]) -> list[str]:
    panels = [analysis.panel for analysis in analyses.values()]
    arms = [arm for panel in panels for arm in zip(panel.methods, panel.baselines, strict=True)]
    named = " or ".join(dict.fromkeys(name for name, counts in arms if counts)) or "none here"
    return [
        (
            f"Brackets hold 95 % intervals: percentiles of {RESAMPLES} resamples of seeds and, within each "
            "split, prompts, the same for all methods and looks. Deviations that come from resampling seeds "
            "are widened to Student's t for the number of seeds."
        ),
        (
            "A winner is named where it is above the base model by interval and, after Holm's correction "
            "over the pairs of methods on a reward, above every other method. P-values are those of the "
            "paired bootstrap."
        ),
        (
            "Base is the untrained model on the same prompts and noise. Best-of-N is the expected reward of "
            "the best of N videos of the base model: what choosing adds, estimated without bias from more of "
            "its samples, added to the base model; it costs N queries for every video that is used, and no "
            "training."
        ),
        (
            f"The threshold is the final held-out reward of the best baseline ({named}). "
            "Amounts until it is reached are read off the curves, which are straight between looks. 'Not "
            "reached': the curve stays below it. 'Unbounded': in some resamples the threshold is not above "
            "the base model. 'Undefined': the best baseline does not end above the base model by interval."
        ),
        "Held-out gain over train gain is undefined where the train gain's interval is not above zero.",
        (
            "Seeds won are those with which the one method ends above the other; equal ends count half. They "
            f"decide nothing here. An effect that would be found with probability {POWER} is one whose "
            "interval would leave out zero so often, with as many seeds and prompts; for a pair of methods "
            "that is the interval that the strictest of Holm's steps needs."
        ),
        (
            "A query whose score is differentiated tells a method more than a plain score does. The budget "
            "counts both as one query; the ledger counts gradient queries apart."
        ),
        (
            "Device time covers sampling, scoring and updating; loading, evaluation and logging are left "
            "out. It compares methods only where all runs were made on the same machine."
        ),
    ]


def _adapters(analyses: dict[str, Analysis]) -> str:
    names = dict.fromkeys(arm.name for analysis in analyses.values() for arm in analysis.adapters)
    if not names:
        return ""
    return (
        f"Not trained here, but adapters from files: {', '.join(names)}. They spend nothing, their lines are "
        "flat, and their intervals come from resampling prompts alone; it is not known whether they were "
        "trained on the prompts that they are judged on. They are compared with every method, and are never "
        "the winner at an equal budget."
    )


def _curve(analyses: dict[str, Analysis]) -> str:
    if not analyses:
        return ""
    return (
        "Held-out numbers, curves and amounts read off them all use the videos that were judged at every "
        "look; further samples of the same prompts show diversity and what best-of-N adds."
    )


def _left_out(results: Results) -> list[str]:
    notes = []
    if results.missing:
        notes.append(f"Missing runs: {', '.join(results.missing)}.")
    for reward in results.experiment.rewards:
        complete = results.complete(reward)
        out = [str(seed) for seed in results.experiment.seeds if seed not in complete]
        if out and any(results.of(reward, method) for method in results.methods):
            seeds = f"seed {out[0]} is" if len(out) == 1 else f"seeds {', '.join(out)} are"
            notes.append(
                f"{reward}: {seeds} left out, because methods are compared seed by seed and not every method "
                "that has a run has finished it."
            )
    if results.unused:
        notes.append(
            f"Runs that are no part of the experiment and were not used: {', '.join(results.unused)}."
        )
    return notes


def _made_otherwise(results: Results, what: str, of: Callable[[Record], dict[str, str]]) -> str:
    """Return which runs were made with other code or packages than most on their reward; empty if none was.

    ``of`` gives of a record the digest of its code, or the versions of its packages, by name.
    """
    odd = []
    for reward in results.experiment.rewards:
        found = {record.name: of(record) for record in results.of(reward)}
        most = most_common(list(found.values()))
        for run, own in found.items():
            others = [
                f"{name} {value} instead of {most[name]}"
                for name, value in own.items()
                if value != most[name]
            ]
            said = f" ({', '.join(others)})" if what == "packages" else ""
            odd += [f"{run}{said}"] if others else []
    if not odd:
        return ""
    return (
        f"Made with other {what} than most runs on the same reward: {', '.join(odd)}. "
        "What sets them apart may come from that."
    )


def _code(record: Record) -> dict[str, str]:
    return {name: digest for name, digest in record.digests.items() if name == "code"}


def _packages(record: Record) -> dict[str, str]:
    return {name: record.packages[name] for name in COMPUTING if name in record.packages}


def _of_runs(results: Results) -> list[str]:
    """Return what methods noted while they trained, each with the runs that it holds for."""
    runs: dict[str, list[str]] = {}
    for name, record in results.records.items():
        for note in record.notes:
            runs.setdefault(note, []).append(name)
    return [f"{_who(results, names)}: {note}." for note, names in runs.items()]


def _who(results: Results, names: list[str]) -> str:
    """Return ``names`` of runs, in short where they are all trained runs on a reward."""
    said = []
    for reward in dict.fromkeys(record.reward for record in results.records.values()):
        runs = {name: one for name, one in results.records.items() if one.reward == reward}
        trained = [name for name, record in runs.items() if record.method not in UNTRAINED]
        noted = [name for name in names if name in runs]
        said += [f"all trained runs on {reward}"] if len(noted) > 1 and noted == trained else noted
    return ", ".join(said)
