"""An experiment file as typed tables: in full, and with the fields under ``quick`` replaced."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vader_bench.config.paths import located
from vader_bench.config.schema import ExperimentConfig
from vader_bench.config.yamlfile import Fault, parse_partly, read_mapping

__all__ = ["ExperimentFile", "Form", "read_experiment_file"]


class Form(NamedTuple):
    """One of the two experiments in a file."""

    config: ExperimentConfig
    """As ``parse_partly`` returns it."""
    faults: list[Fault]
    """What is wrong with its keys and types."""


class ExperimentFile(NamedTuple):
    """What an experiment file says."""

    full: Form
    quick: Form
    """With the fields under ``quick`` replaced; lists are replaced whole, tables are merged."""
    faults: list[Fault]
    """What is wrong with the file itself."""


def read_experiment_file(path: Path) -> ExperimentFile:
    """Return the experiments in the YAML file ``path``. A suite file that it names is relative to it.

    Raises:
        UserError: as ``read_mapping``.
    """
    data, faults = read_mapping(path)
    changes = data.get("quick")
    small = _quick(data, changes if isinstance(changes, dict) else {})
    full, quick = (
        Form(*parse_partly(ExperimentConfig, _located(form, path.parent))) for form in (data, small)
    )
    return ExperimentFile(full, quick, faults)


def _located(data: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Return ``data`` with the path of a suite file from ``folder``."""
    suite = data.get("suite")
    return {**data, "suite": located(suite, folder)} if isinstance(suite, str) else data


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
