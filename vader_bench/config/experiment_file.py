"""An experiment file as typed tables: in full, and with the fields under ``quick`` replaced."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vader_bench.config.names import ADAPTER
from vader_bench.config.paths import WrittenPaths, is_file, is_folder, located, names_file
from vader_bench.config.schema import METHOD, ExperimentConfig
from vader_bench.config.yamlfile import Fault, nearest, parse_partly, read_mapping
from vader_bench.errors import UserError

__all__ = [
    "ExperimentFile",
    "Form",
    "experiment_names",
    "experiment_path",
    "read_experiment_file",
    "searches",
    "with_code",
]

_PACKAGE = Path(__file__).parents[1]
_SUITE = ("suite", "give an experiment, and this file as its `--suite`")
_OTHER_KINDS = {
    "backbone": _SUITE,
    "extends": _SUITE,
    "splits": ("prompt set", "name it under `prompts:` of a suite, and give an experiment on that"),
    "study": ("study of preferences", "give it to `vader-bench study build`"),
}
"""By a key that no experiment has: the kind of file that has it, and what to do with it."""
_SEVERAL = {"grid", "points"}
"""Keys of a method in a tuning."""


def experiments_folder() -> Path:
    """Return the folder of the experiments that come with the package.

    An installed package has it inside; in a checkout it stands beside the package.
    """
    inside = _PACKAGE / "experiments"
    return inside if is_folder(inside) else _PACKAGE.parent / "experiments"


def experiment_names() -> list[str]:
    """Return the names of the experiments that come with the package, sorted; the tuning is among them."""
    return sorted(path.stem for path in experiments_folder().glob("*.yaml"))


def experiment_path(name_or_path: str | Path) -> Path:
    """Return the file of a packaged experiment by its name, or the path that is given.

    Raises:
        UserError: it looks like a name, and neither an experiment nor a file is called so.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if names_file(name) or is_file(path):
        return path
    if name in experiment_names():
        return experiments_folder() / f"{name}.yaml"
    raise UserError(
        f"experiment {name!r}", "is not known", f"{nearest(name, experiment_names())}, or a .yaml file"
    )


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
        UserError: as ``read_mapping``; or it is a file of another kind.
    """
    data, faults = read_mapping(path)
    _refuse_other_kinds(path, data)
    changes = data.get("quick")
    small = _quick(data, changes if isinstance(changes, dict) else {})
    full, quick = (_form(form, path.parent) for form in (data, small))
    return ExperimentFile(full, quick, faults)


def _refuse_other_kinds(path: Path, data: Mapping[str, Any]) -> None:
    """Say what ``path`` is where it is no experiment: its faults as one would be a list of all its keys."""
    for key, (kind, remedy) in _OTHER_KINDS.items():
        if key in data and "experiment" not in data:
            raise UserError(str(path), f"is a {kind}, and no experiment", remedy)
    if "seeds" not in data and searches(data):  # a method of a user may have a setting of such a name
        raise UserError(str(path), "is a tuning, and no experiment", "give it to `vader-bench tune`")


def searches(data: Mapping[str, Any]) -> bool:
    """Tell whether a file's methods have several settings each to try, as those of tunings have."""
    methods = data.get("methods")
    arms = methods.values() if isinstance(methods, dict) else ()
    return any(isinstance(arm, dict) and not _SEVERAL.isdisjoint(arm) for arm in arms)


def _form(data: Mapping[str, Any], folder: Path) -> Form:
    """Return one of the experiments of a file in ``folder``; files that it names are relative to that."""
    found, written = with_code(data, folder)
    if isinstance(suite := data.get("suite"), str):
        found["suite"] = located(suite, folder)
    config, faults = parse_partly(ExperimentConfig, found)
    return Form(config.with_written(written), faults)


def with_code(data: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what a file in ``folder`` says, with the paths of its methods' files; and how it writes them."""
    places, methods = WrittenPaths(folder), data.get("methods")
    if not isinstance(methods, dict):
        return dict(data), {}
    located_methods = {name: _located_method(arm, places) for name, arm in methods.items()}
    return {**data, "methods": located_methods}, places.written


def _located_method(arm: Any, places: WrittenPaths) -> Any:
    if not isinstance(arm, dict):
        return arm
    if isinstance(method := arm.get(METHOD), str):
        arm = arm | {METHOD: places.code(method)}
    if isinstance(adapter := arm.get(ADAPTER), str):
        arm = arm | {ADAPTER: places.weights(adapter if "/" in adapter else f"./{adapter}")}
    return arm


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
