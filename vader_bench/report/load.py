"""A results folder as records: what the experiment asked for, what is there, what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vader_bench.config.names import ADAPTER, BASE, UNTRAINED, run_name
from vader_bench.config.schema import ExperimentConfig
from vader_bench.config.yamlfile import parse, raise_faults, read_mapping
from vader_bench.errors import ExitCode, UserError
from vader_bench.records.inputs import require_same_inputs
from vader_bench.records.packed import stored_digest
from vader_bench.records.record import Record
from vader_bench.records.record_file import find_records, read_record
from vader_bench.records.upgrade import EXPERIMENT_VERSION
from vader_bench.stats import Analysis, Target, analyse, beside, build_panel, complete_seeds

__all__ = ["Results", "load_results"]


@dataclass(frozen=True, kw_only=True)
class Results:
    """What an experiment found."""

    folder: Path
    experiment: ExperimentConfig
    records: dict[str, Record]
    """By run name, in the order rewards, base and methods, seeds; only runs the experiment asks for."""
    digests: dict[str, str]
    """SHA-256 of each record's file, by run name."""
    missing: tuple[str, ...]
    """Names of runs that have no record."""
    unused: tuple[str, ...]
    """Names of runs that have a record and are no part of the experiment."""

    @property
    def suite(self) -> str:
        """Return the suite's name."""
        return next(iter(self.records.values())).suite

    @property
    def methods(self) -> tuple[str, ...]:
        """Return the methods, or the arms of one, in the order of the experiment."""
        return tuple(self.experiment.methods)

    def of(self, reward: str, method: str | None = None) -> list[Record]:
        """Return the records on ``reward``, all or those of one ``method`` (``base`` is one)."""
        return [r for r in self.records.values() if r.reward == reward and method in {None, r.label}]

    def seeds(self, arm: str) -> list[int]:
        """Return the seeds of an arm's runs: the first one of the base model and of adapters from a file."""
        return _seeds(self.experiment, arm)

    def complete(self, reward: str) -> list[int]:
        """Return the seeds that all numbers on ``reward`` are of; see ``complete_seeds``."""
        return complete_seeds(self.of(reward), self.methods, self.experiment.seeds)

    def counted(self, reward: str, arm: str) -> list[Record]:
        """Return the records of an arm that its numbers come from, in order of seeds.

        Those of complete seeds; all, that is one, of what is not trained.
        """
        seeds = self.complete(reward)
        found = [r for r in self.of(reward, arm) if r.method in UNTRAINED or r.seed in seeds]
        return sorted(found, key=lambda record: record.seed)

    def compared(self, reward: str, arm: str) -> list[Record]:
        """Return the ``counted`` records of an arm, each with the looks of a training; see ``beside``.

        Adapters from a file have none where no training on ``reward`` is complete.
        """
        found, seeds = self.counted(reward, arm), self.complete(reward)
        trained = [r for r in self.of(reward) if r.method not in UNTRAINED and r.seed in seeds]
        if not any(record.method == ADAPTER for record in found):
            return found
        return [beside(record, trained[0]) for record in found] if trained else []

    def trained(self, arm: str) -> bool:
        """Tell whether ``arm`` is trained, and no adapters from a file."""
        return self.experiment.methods[arm].adapter is None

    def families(self) -> dict[str, list[str]]:
        """Return the trained arms by their method, in the order of the experiment."""
        found: dict[str, list[str]] = {}
        for arm, entry in self.experiment.methods.items():
            if self.trained(arm):
                found.setdefault(entry.method or arm, []).append(arm)
        return found

    def analyses(self) -> dict[str, Analysis]:
        """Return the statistics by reward, without rewards that have no complete seed."""
        given = self.experiment.target
        target = None if given is None else Target(given.arm, given.queries)
        found = {}
        for reward in self.experiment.rewards:
            asked = self.experiment
            panel = build_panel(self.of(reward), self.methods, asked.seeds, asked.baselines)
            if panel is not None:
                found[reward] = analyse(panel, target)
        return found


def load_results(folder: Path, *, allow_missing: bool = False) -> Results:
    """Return what ``folder`` holds.

    Args:
        folder: a results folder: ``experiment.yaml`` and ``runs/<method>-<reward>-seed<n>/record.json``.
        allow_missing: accept that runs have no record; tables then say ``missing``.

    Raises:
        UserError: no results folder, a record of another version or of another experiment, runs on one
            reward that were made with different weights or prompts, or records missing (exit code 3), naming
            them.
    """
    experiment = _experiment(folder / "experiment.yaml")
    names = _run_names(experiment)
    paths = find_records(folder)
    missing = tuple(name for name in names if name not in paths)
    if missing and (not allow_missing or len(missing) == len(names)):
        raise UserError(
            str(folder),
            f"{len(missing)} of {len(names)} records are missing: {', '.join(missing)}",
            "finish the runs by giving the run command again"
            + (", or report with --allow-missing" if len(missing) < len(names) else ""),
            exit_code=ExitCode.MISSING,
        )
    present = {name: paths[name] for name in names if name in paths}
    records = {name: _record(path, name) for name, path in present.items()}
    _require_one_suite(list(records.values()), paths)
    for reward in experiment.rewards:
        require_same_inputs(str(folder), [record for record in records.values() if record.reward == reward])
    return Results(
        folder=folder,
        experiment=experiment,
        records=records,
        digests={name: stored_digest(path) for name, path in present.items()},
        missing=missing,
        unused=tuple(name for name in paths if name not in names),
    )


def _experiment(path: Path) -> ExperimentConfig:
    if not path.is_file():
        remedy = "give the folder that a run wrote, results/<experiment>/<suite>"
        raise UserError(str(path), "does not exist", remedy, exit_code=ExitCode.MISSING)
    data, faults = read_mapping(path)
    version = data.pop("version", EXPERIMENT_VERSION)
    if version != EXPERIMENT_VERSION:
        wrong = f"is an experiment of version {version}; this program reads version {EXPERIMENT_VERSION}"
        raise UserError(str(path), wrong, "upgrade vader-bench to the version that wrote it, or a newer one")
    experiment, more = parse(ExperimentConfig, data)
    raise_faults(str(path), [*faults, *more])
    assert experiment is not None
    return experiment


def _run_names(experiment: ExperimentConfig) -> list[str]:
    """Return the names of all runs of the experiment, the base model's first for each reward."""
    return [
        name
        for reward in experiment.rewards
        for name in (
            run_name(BASE, reward, experiment.seeds[0]),
            *(run_name(arm, reward, seed) for arm in experiment.methods for seed in _seeds(experiment, arm)),
        )
    ]


def _seeds(experiment: ExperimentConfig, arm: str) -> list[int]:
    once = arm == BASE or experiment.methods[arm].adapter is not None
    return experiment.seeds[:1] if once else experiment.seeds


def _record(path: Path, name: str) -> Record:
    record = read_record(path)
    if record.name != name:
        wrong = f"is the record of {record.name}"
        raise UserError(str(path), wrong, "put every record back into the folder of its own run")
    return record


def _require_one_suite(records: Sequence[Record], paths: dict[str, Path]) -> None:
    for record in records:
        if (record.experiment, record.suite) != (records[0].experiment, records[0].suite):
            wrong = (
                f"is of {record.experiment}/{record.suite}, not {records[0].experiment}/{records[0].suite}"
            )
            remedy = "keep every experiment in a results folder of its own"
            raise UserError(str(paths[record.name]), wrong, remedy)
