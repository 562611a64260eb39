"""Experiment and suite files, loaded and checked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from vader_bench.config.experiment_file import Form, read_experiment_file
from vader_bench.config.paths import WrittenPaths, located, names_file, replaced
from vader_bench.config.schema import ExperimentConfig, SuiteConfig
from vader_bench.config.yamlfile import AtFaultError, Fault, nearest, parse, raise_faults, read_mapping
from vader_bench.errors import UserError
from vader_bench.experiment.arms import ArmConfig, SettingsReader, read_arms
from vader_bench.experiment.checks import experiment_faults, suite_faults
from vader_bench.experiment.rounds import round_faults

__all__ = ["LoadedExperiment", "load_experiment", "load_suite", "place", "suite_names"]

SUITES_FOLDER = Path(__file__).parents[1] / "suites"


def suite_names() -> list[str]:
    """Return the names of the suites that come with the package, sorted."""
    return sorted(path.stem for path in SUITES_FOLDER.glob("*.yaml"))


def load_suite(name_or_path: str | Path) -> SuiteConfig:
    """Return a packaged suite by name, or the one in a YAML file.

    Paths in a suite file are relative to that file: of prompts, weights, pictures and plug-ins.

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
    places = WrittenPaths(path.parent)
    if "prompts" in data:
        data["prompts"] = replaced(data["prompts"], places.at)
    for key in ("backbone", "rewards", "gold", "prompt_share"):
        if key in data:
            data[key] = _with_paths(data[key], places)
    suite, found = parse(SuiteConfig, data)
    raise_faults(str(path), [*faults, *found])
    assert suite is not None
    return suite.with_written(places.written)


@dataclass(frozen=True)
class LoadedExperiment:
    """An experiment on a suite, checked."""

    config: ExperimentConfig
    """What its file says."""
    suite: SuiteConfig
    arms: list[ArmConfig]
    """Its ``methods``, read for ``suite``."""
    moved: bool = False
    """Whether the suite is another than the file's."""


def load_experiment(path: str | Path, quick: bool = False, suite: str | None = None) -> LoadedExperiment:
    """Return the experiment in a YAML file, checked as a whole, and with its ``quick`` fields checked too.

    Args:
        path: the file.
        quick: replace fields by those under ``quick``; lists are replaced whole, tables are merged.
        suite: name or file of a suite in place of the file's own, which is not looked at then. Settings
            belong to the suite that they were chosen on: with another one, arms keep only what the experiment
            compares.

    Raises:
        UserError: every fault of the file, one a line: unknown and missing keys, wrong types and
            values, unknown suite, method, reward, prompt set or split, unfit settings of a method.
    """
    path = Path(path)
    file = read_experiment_file(path)
    suites, reader = cache(_checked_suite), SettingsReader()  # what the two forms share is read once
    full, faults = _loaded(_on_suite(file.full, suite), suites, reader)
    small, small_faults = _loaded(_on_suite(file.quick, suite), suites, reader)
    new = [fault for fault in small_faults if str(fault) not in set(map(str, faults))]
    raise_faults(str(path), [*file.faults, *faults, *map(_under_quick, new)])
    loaded = small if quick else full
    assert loaded is not None
    own = (file.quick if quick else file.full).config
    return replace(loaded, moved=loaded.config.suite != own.suite)


def place(experiment: ExperimentConfig, suite: SuiteConfig) -> LoadedExperiment:
    """Return ``experiment`` on ``suite``, which need not be its own.

    Raises:
        UserError: all that does not fit, one a line.
    """
    loaded, faults = _placed(experiment, suite, SettingsReader())
    raise_faults(f"experiment {experiment.experiment}", [*suite_faults(suite), *faults])
    return loaded


def _on_suite(form: Form, suite: str | None) -> Form:
    """Return ``form`` on another ``suite``; see ``load_experiment``."""
    config = form.config
    with suppress(AtFaultError):
        if suite is None or _same_suite(suite, config.suite):
            return form
    changes: dict[str, Any] = {"suite": suite, "tuning": None}
    with suppress(AtFaultError):
        changes["methods"] = {name: arm.only(config.compares) for name, arm in config.methods.items()}
    return form._replace(config=config.model_copy(update=changes))


def _same_suite(given: str, own: str) -> bool:
    return given == own or (names_file(given) and located(given, Path()) == own)


def _loaded(
    form: Form, suites: Callable[[str], tuple[SuiteConfig, list[Fault]]], reader: SettingsReader
) -> tuple[LoadedExperiment | None, list[Fault | UserError]]:
    """Return ``form`` on its suite, or ``None`` where that cannot be loaded, and what is wrong with it."""
    faults: list[Fault | UserError] = [*form.faults]
    with suppress(AtFaultError):
        name = form.config.suite
        try:
            suite, wrong = suites(name)
        except UserError as error:
            return None, [*faults, _at_suite(error)]
        loaded, more = _placed(form.config, suite, reader)
        return loaded, [*faults, *wrong, *more]
    return None, faults


def _placed(
    experiment: ExperimentConfig, suite: SuiteConfig, reader: SettingsReader
) -> tuple[LoadedExperiment, list[Fault | UserError]]:
    """Return ``experiment``, or what is right of it, on ``suite``, and what is wrong beyond its types."""
    arms, faults = read_arms(experiment, suite, reader)
    return LoadedExperiment(experiment, suite, arms), [
        *faults,
        *experiment_faults(experiment, suite),
        *round_faults(experiment, arms),
    ]


def _checked_suite(name: str) -> tuple[SuiteConfig, list[Fault]]:
    suite = load_suite(name)
    return suite, list(suite_faults(suite))


def _at_suite(error: UserError) -> Fault | UserError:
    """Return the fault of the key ``suite`` where a suite is unknown; a suite file's own faults stay."""
    if error.given.startswith("suite "):
        return Fault("suite", f"is {error.given.removeprefix('suite ')}, which {error.wrong}", error.remedy)
    return error


def _with_paths(component: Any, places: WrittenPaths) -> Any:
    """Return a component of a suite file, or a table of them, with the paths in its settings."""
    if not isinstance(component, dict):
        return component
    settings = component.get("settings")
    if not isinstance(settings, dict):
        return {key: _with_paths(inner, places) for key, inner in component.items()}
    if isinstance(file := settings.get("file"), str) and component.get("family") == "plugin":
        settings = settings | {"file": places.at(f"./{file}" if "/" not in file else file)}
    return component | {"settings": replaced(settings, places.weights)}


def _under_quick(fault: Fault | UserError) -> Fault | UserError:
    return fault._replace(key=f"quick.{fault.key}") if isinstance(fault, Fault) else fault
