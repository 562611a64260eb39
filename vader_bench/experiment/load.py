"""Experiment and suite files, loaded and checked."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vader_bench.config.schema import ExperimentConfig, SuiteConfig
from vader_bench.config.yamlfile import (
    AtFaultError,
    Fault,
    nearest,
    parse,
    parse_partly,
    raise_faults,
    read_mapping,
)
from vader_bench.errors import UserError
from vader_bench.experiment.arms import ArmConfig, SettingsReader, read_arms
from vader_bench.experiment.checks import experiment_faults, suite_faults
from vader_bench.prompts.sets import FILE_ENDINGS

__all__ = ["LoadedExperiment", "load_experiment", "load_suite", "place", "suite_names"]

SUITES_FOLDER = Path(__file__).parents[1] / "suites"


def suite_names() -> list[str]:
    """Return the names of the suites that come with the package, sorted."""
    return sorted(path.stem for path in SUITES_FOLDER.glob("*.yaml"))


def load_suite(name_or_path: str | Path) -> SuiteConfig:
    """Return a packaged suite by name, or the one in a YAML file.

    A prompt file in a suite file is relative to that file.

    Raises:
        UserError: unknown name, or every fault of the file, one a line.
    """
    name = str(name_or_path)
    packaged = name in suite_names()
    if not packaged and Path(name).suffix not in {".yaml", ".yml"}:
        remedy = f"{nearest(name, suite_names())}, or a .yaml file"
        raise UserError(f"suite {name!r}", "is not known", remedy)
    path = SUITES_FOLDER / f"{name}.yaml" if packaged else Path(name)
    data, faults = read_mapping(path)
    prompts = data.get("prompts")
    if isinstance(prompts, dict):
        data["prompts"] = {key: _located(value, path.parent) for key, value in prompts.items()}
    suite, found = parse(SuiteConfig, data)
    raise_faults(str(path), [*faults, *found])
    assert suite is not None
    return suite


@dataclass(frozen=True)
class LoadedExperiment:
    """An experiment on a suite, checked."""

    config: ExperimentConfig
    """What its file says."""
    suite: SuiteConfig
    arms: list[ArmConfig]
    """Its ``methods``, read for ``suite``."""


def load_experiment(path: str | Path, quick: bool = False) -> LoadedExperiment:
    """Return the experiment in a YAML file, checked as a whole, and with its ``quick`` fields checked too.

    Args:
        path: the file.
        quick: replace fields by those under ``quick``; lists are replaced whole, tables are merged.

    Raises:
        UserError: every fault of the file, one a line: unknown and missing keys, wrong types and
            values, unknown suite, method, reward, prompt set or split, unfit settings of a method.
    """
    path = Path(path)
    data, faults = read_mapping(path)
    reader = _Reader(path.parent)
    full, full_faults = reader.read(data)
    changes = data.get("quick")
    small, small_faults = reader.read(_quick(data, changes if isinstance(changes, dict) else {}))
    new = [fault for fault in small_faults if str(fault) not in set(map(str, full_faults))]
    raise_faults(str(path), [*faults, *full_faults, *map(_under_quick, new)])
    assert full is not None
    assert small is not None
    return small if quick else full


def place(experiment: ExperimentConfig, suite: SuiteConfig) -> LoadedExperiment:
    """Return ``experiment`` on ``suite``, which need not be its own.

    Raises:
        UserError: all that does not fit, one a line.
    """
    loaded, faults = _placed(experiment, suite, SettingsReader())
    raise_faults(f"experiment {experiment.experiment}", faults)
    return loaded


class _Reader:
    """Reads the forms of an experiment, full and quick; what they share is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._suite = cache(load_suite)
        self._settings = SettingsReader()

    def read(self, data: Mapping[str, Any]) -> tuple[LoadedExperiment | None, list[Fault | UserError]]:
        """Return ``data`` as an experiment, or ``None``, and what is wrong with it."""
        if "suite" in data:
            data = {**data, "suite": _located(data["suite"], self._folder)}
        experiment, found = parse_partly(ExperimentConfig, data)
        faults: list[Fault | UserError] = [*found]
        loaded = None
        with suppress(AtFaultError):
            try:
                suite = self._suite(experiment.suite)
            except UserError as error:
                return None, [*faults, _at_suite(error)]
            loaded, more = _placed(experiment, suite, self._settings)
            faults += more
        return loaded, faults


def _placed(
    experiment: ExperimentConfig, suite: SuiteConfig, reader: SettingsReader
) -> tuple[LoadedExperiment, list[Fault | UserError]]:
    """Return ``experiment``, or what is right of it, on ``suite``, and what is wrong beyond its types."""
    arms, faults = read_arms(experiment, suite, reader)
    told = [*suite_faults(suite), *faults, *experiment_faults(experiment, suite)]
    return LoadedExperiment(experiment, suite, arms), told


def _at_suite(error: UserError) -> Fault | UserError:
    """Return the fault of the key ``suite`` where a suite is unknown; a suite file's own faults stay."""
    if error.given.startswith("suite "):
        return Fault("suite", f"is {error.given.removeprefix('suite ')}, which {error.wrong}", error.remedy)
    return error


def _located(value: Any, folder: Path) -> Any:
    """Return ``value``, or where it names a file, that file's path from ``folder``."""
    if isinstance(value, str) and (Path(value).suffix in FILE_ENDINGS or "/" in value):
        return str((folder / value).resolve())
    return value


def _quick(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    small = _merged({key: value for key, value in data.items() if key != "quick"}, changes)
    if "experiment" not in changes and isinstance(small.get("experiment"), str):
        small["experiment"] += "-quick"  # so that its results never meet those of the full experiment
    return small


def _merged(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``data`` with the fields in ``changes`` replaced; tables are merged, lists are not."""
    result = dict(data)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _under_quick(fault: Fault | UserError) -> Fault | UserError:
    return fault._replace(key=f"quick.{fault.key}") if isinstance(fault, Fault) else fault
