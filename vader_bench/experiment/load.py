"""Experiment and suite files, loaded and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vader_bench.config.schema import ExperimentConfig, SuiteConfig
from vader_bench.config.yamlfile import Fault, nearest, parse, raise_faults, read_mapping
from vader_bench.errors import UserError
from vader_bench.experiment.checks import experiment_faults
from vader_bench.prompts.sets import FILE_ENDINGS

__all__ = ["load_experiment", "load_suite", "merged", "suite_names"]

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


def load_experiment(path: str | Path, quick: bool = False) -> ExperimentConfig:
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
    full, full_faults = _checked(data, path)
    changes = data.get("quick")
    small, small_faults = _checked(_quick(data, changes if isinstance(changes, dict) else {}), path)
    new = [fault for fault in small_faults if str(fault) not in set(map(str, full_faults))]
    problems = [*faults, *full_faults, *map(_under_quick, new)]
    raise_faults(str(path), problems)
    assert full is not None
    assert small is not None
    return small if quick else full


def _checked(data: Mapping[str, Any], path: Path) -> tuple[ExperimentConfig | None, list[Fault | UserError]]:
    """Return ``data`` of the file ``path`` as an experiment, and what is wrong with it."""
    data = {**data, "suite": _located(data.get("suite"), path.parent)} if "suite" in data else data
    experiment, found = parse(ExperimentConfig, data)
    faults: list[Fault | UserError] = [*found]
    name = data.get("suite")
    if isinstance(name, str):
        try:
            suite = load_suite(name)
        except UserError as error:
            faults.append(_at_suite(error))
        else:
            faults += experiment_faults(data, suite)
    return experiment, faults


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
    small = merged({key: value for key, value in data.items() if key != "quick"}, changes)
    if "experiment" not in changes and isinstance(small.get("experiment"), str):
        small["experiment"] += "-quick"  # so that its results never meet those of the full experiment
    return small


def merged(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``data`` with the fields in ``changes`` replaced; tables are merged, lists are not."""
    result = dict(data)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _under_quick(fault: Fault | UserError) -> Fault | UserError:
    return fault._replace(key=f"quick.{fault.key}") if isinstance(fault, Fault) else fault
