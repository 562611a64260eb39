"""Successive halving: many settings at a small budget, the best at larger ones, alike for all methods.

Jamieson and Talwalkar (2016, arXiv 1502.07943), with brackets as in Hyperband (Li et al. 2018, arXiv
1603.06560): settings that are tried because a choice is at an edge halve among themselves, so that every
method has tried as many settings with as many queries, whatever became of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vader_bench.config.names import HELDOUT
from vader_bench.config.schema import SuiteConfig
from vader_bench.errors import UserError
from vader_bench.experiment.job import Job
from vader_bench.experiment.tuning.candidates import Arm, Candidate, Trial
from vader_bench.experiment.tuning.config import TuneConfig
from vader_bench.records.folder import RunFolder
from vader_bench.records.inputs import require_same_inputs
from vader_bench.stats.aggregate import FloatArray
from vader_bench.stats.bootstrap import Resampler
from vader_bench.stats.panel import build_panel

__all__ = ["Judged", "TrialOutcome", "Tuned", "halve", "judge", "planned"]

Do = Callable[[str, Sequence[Job]], None]
"""Executes jobs, those that are finished already aside, after saying what they are."""


@dataclass(frozen=True)
class TrialOutcome:
    """What a trial came to, on the held-out development prompts, in units of its reward."""

    score: float
    """Mean over seeds of the mean over all looks after the start: what a setting is chosen by. The last look
    alone would choose the luck of one evaluation."""
    end: float
    """Mean over seeds of the last look."""
    base: float
    """The first look, at the untrained model."""
    below: tuple[int, ...]
    """Seeds that end below the untrained model by a 95 % interval over prompts."""
    looks: tuple[int, ...]
    """Reward queries at each look."""
    gains: tuple[float, ...]
    """At each look, mean over seeds and prompts of the reward minus that of the untrained model."""
    truth_gains: tuple[float, ...] | None
    """The same of the truth of the reward; ``None`` where it was not measured. Nothing is chosen by it."""
    share_gain: float | None
    """The same of the share of the prompt, at the last look alone. Nothing is chosen by it."""
    device_seconds: float
    """Of all seeds."""
    inputs: dict[str, str]
    """SHA-256 of weights and prompts, as the records have them."""

    @property
    def truth_gain(self) -> float | None:
        """Return what the truth has risen by at the last look; ``None`` where it was not measured."""
        return None if self.truth_gains is None else self.truth_gains[-1]


@dataclass(frozen=True)
class Judged:
    """A trial that is done."""

    trial: Trial
    outcome: TrialOutcome
    went_on: bool
    """Whether its setting went on to the next rung."""


@dataclass(frozen=True)
class Tuned:
    """All that was tried and what was chosen."""

    judged: list[Judged]
    """In the order in which they were tried."""
    chosen: dict[Arm, Judged]
    """Of those at the last rung the one with the highest score, the first of equals."""
    extended: dict[str, list[str]]
    """By reward, why the settings under ``extend`` were tried there."""
    left_open: dict[Arm, list[str]]
    """Why a choice may not be the best that there is; no arm without a reason."""


def halve(config: TuneConfig, candidates: Sequence[Candidate], folder: Path, do: Do) -> Tuned:
    """Try ``candidates`` rung by rung and return what came of it.

    Where the choice of a method is at an edge of what was tried, or one of its seeds ends below the base
    model, the settings under ``extend`` of *all* methods are tried on that reward; once, and no further. So
    they are where the file asks for it.

    Args:
        config: the tuning.
        candidates: as ``find_candidates`` returns them.
        folder: where the runs are; what is finished there is not done again.
        do: executes runs.
    """
    judged = _bracket(config, [one for one in candidates if not one.extension], folder, do)
    chosen = _chosen(judged)
    extended = {reward: ["the file's `extend_on`"] for reward in config.extend_on}
    for (reward, method), reasons in _open(config, judged, chosen).items():
        extended.setdefault(reward, []).extend(f"{method}: {reason}" for reason in reasons)
    more = [one for one in candidates if one.extension and one.config.reward in extended]
    if not more:
        return Tuned(judged, chosen, {}, _open(config, judged, chosen))
    judged = _bracket(config, more, folder, do, "extension, ", judged)
    chosen = _chosen(judged)
    return Tuned(judged, chosen, extended, _open(config, judged, chosen))


def planned(config: TuneConfig, suite: SuiteConfig) -> list[str]:
    """Return lines with how many runs of how many queries the tuning takes, in all and rung by rung."""
    searches = list(config.methods.values())
    first, more = searches[0].count, len(searches[0].extend)
    arms, each = len(searches) * len(config.rewards), config.queries(first)
    who = f"{len(searches)} methods on {', '.join(config.rewards)} of {suite.suite}"
    lines = [f"planned: {who}, {each:,} queries for each method and reward, {arms * each:,} in all"]
    for number, (rung, count) in enumerate(zip(config.ladder, config.entering(first), strict=True), start=1):
        runs, seeds = arms * count * rung.seeds, "1 seed" if rung.seeds == 1 else f"{rung.seeds} seeds"
        what = f"{count} settings, {seeds} each, {rung.reward_queries} queries a run"
        lines.append(f"  rung {number} of {len(config.ladder)}: {what}: {runs} runs")
    price = config.queries(more) * len(searches) if more else 0
    if asked := config.extend_on:
        where = ", ".join(asked)
        lines.append(
            f"  then more settings of every method ({more}) on {where}: {price * len(asked):,} queries"
        )
    if more and len(asked) < len(config.rewards):
        lines.append(
            f"  where a choice is at an edge of what was tried, or ends below the base model: more "
            f"settings of every method ({more}) on that reward, {price:,} queries a reward"
        )
    return lines


def judge(trial: Trial, folder: Path) -> TrialOutcome:
    """Return what a finished trial came to.

    Args:
        trial: whose runs are finished.
        folder: where they are.

    Raises:
        UserError: a record is missing or damaged, or seeds were looked at differently.
    """
    jobs = trial.jobs(folder)
    records = [RunFolder(job.folder).load_record() for job in jobs]
    require_same_inputs(f"{folder}", records)
    panel = build_panel(records, [records[0].label], trial.seeds)
    if panel is None:
        wrong = f"have other seeds than {', '.join(map(str, trial.seeds))}"
        raise UserError(f"records of {jobs[0].name}", wrong, "delete their folders and tune again")
    curve, resampler = panel.curve[0], Resampler(panel.seeds)
    gains = resampler.prompts(curve[-1] - curve[0], panel.prompts)
    _, high = gains.bounds()
    share = panel.splits[HELDOUT].prompt_share
    return TrialOutcome(
        score=float(curve[1:].mean()),
        end=float(curve[-1].mean()),
        base=float(curve[0].mean()),
        below=tuple(seed for seed, limit in zip(panel.seeds, high.tolist(), strict=True) if limit < 0),
        looks=tuple(map(int, panel.looks)),
        gains=_gains(curve),
        truth_gains=None if panel.gold_curve is None else _gains(panel.gold_curve[0]),
        share_gain=None if share is None else float((share[0, 1] - share[0, 0]).mean()),
        device_seconds=sum(float(record.ledger["device_seconds"]) for record in records),
        inputs={name: digest for name, digest in records[0].digests.items() if name != "code"},
    )


def _gains(curve: FloatArray) -> tuple[float, ...]:
    """Return what each look of ``curve`` [T, S, P] has on average above the first."""
    return tuple((curve - curve[0]).mean(axis=(1, 2)).tolist())


def _bracket(
    config: TuneConfig,
    candidates: Sequence[Candidate],
    folder: Path,
    do: Do,
    name: str = "",
    before: Sequence[Judged] = (),
) -> list[Judged]:
    """Return ``before`` and what came of ``candidates``, rung by rung."""
    judged = [*before]
    for number, rung in enumerate(config.ladder, start=1):
        trials = [candidate.trial(number, rung) for candidate in candidates]
        jobs = [job for trial in trials for job in trial.jobs(folder)]
        what = f"{len(trials)} settings, {len(jobs)} runs of {rung.reward_queries} queries"
        do(f"{name}rung {number} of {len(config.ladder)}: {what}", jobs)
        outcomes = [(trial, judge(trial, folder)) for trial in trials]
        _require_alike([*((one.trial, one.outcome) for one in judged), *outcomes])
        last = number == len(config.ladder)
        ahead = set() if last else _ahead(outcomes, rung.keep or len(trials))
        judged += [Judged(trial, found, id(trial.candidate) in ahead) for trial, found in outcomes]
        candidates = [candidate for candidate in candidates if id(candidate) in ahead]
    return judged


def _require_alike(outcomes: Sequence[tuple[Trial, TrialOutcome]]) -> None:
    """Refuse trials on one reward of which some were made before weights or prompts were replaced."""
    first: dict[str, tuple[Trial, TrialOutcome]] = {}
    for trial, found in outcomes:
        reward = trial.candidate.config.reward
        other, wanted = first.setdefault(reward, (trial, found))
        if found.inputs != wanted.inputs:
            given = f"trial {trial.candidate.number} of {trial.candidate.config.label} on {reward}"
            wrong = f"had other weights or prompts at rung {trial.rung} than others had at rung {other.rung}"
            raise UserError(given, wrong, "delete the runs that were made before the change, and tune again")


def _ahead(outcomes: Sequence[tuple[Trial, TrialOutcome]], keep: int) -> set[int]:
    """Return the ids of the ``keep`` best settings of each arm; the first of equals."""
    by_arm: dict[Arm, list[tuple[Trial, TrialOutcome]]] = {}
    for trial, found in outcomes:
        by_arm.setdefault(trial.candidate.arm, []).append((trial, found))
    return {
        id(trial.candidate)
        for arm in by_arm.values()
        for trial, _ in sorted(arm, key=lambda one: -one[1].score)[:keep]
    }


def _chosen(judged: Sequence[Judged]) -> dict[Arm, Judged]:
    last = max(one.trial.rung for one in judged)
    chosen: dict[Arm, Judged] = {}
    for one in judged:
        best = chosen.get(arm := one.trial.candidate.arm)
        if one.trial.rung == last and (best is None or one.outcome.score > best.outcome.score):
            chosen[arm] = one
    return chosen


def _open(config: TuneConfig, judged: Sequence[Judged], chosen: Mapping[Arm, Judged]) -> dict[Arm, list[str]]:
    """Return by arm why its choice may not be the best that there is."""
    found: dict[Arm, list[str]] = {}
    for arm, one in chosen.items():
        tried = [other.trial.candidate.varied for other in judged if other.trial.candidate.arm == arm]
        bounds = config.methods[arm[1]].bounds
        reasons = list(_edges(one.trial.candidate.varied, tried, bounds))
        if one.outcome.below:
            seeds = ", ".join(map(str, one.outcome.below))
            reasons.append(f"ends below the base model on {HELDOUT} prompts with seed {seeds}")
        if reasons:
            found[arm] = reasons
    return found


def _edges(
    chosen: Mapping[str, Any], tried: Sequence[Mapping[str, Any]], bounds: Mapping[str, Sequence[Any]]
) -> Iterator[str]:
    """Yield for each number that is the smallest or largest of several that were tried what it is."""
    for name, value in chosen.items():
        numbers = {number for varied in tried if _is_number(number := varied[name])}
        if len(numbers) < 2 or not _is_number(value) or value in bounds.get(name, ()):
            continue
        if value == min(numbers):
            yield f"{name} {value:g} is the smallest that was tried"
        elif value == max(numbers):
            yield f"{name} {value:g} is the largest that was tried"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
