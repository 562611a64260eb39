"""Experiment and suite files, loaded and checked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from vader_bench.config.experiment_file import Form, experiment_path, read_experiment_file
from vader_bench.config.extends import EXTENDS, extended
from vader_bench.config.paths import WrittenPaths, located, names_file, replaced, texts
from vader_bench.config.schema import ExperimentConfig, SuiteConfig
from vader_bench.config.yamlfile import AtFaultError, Fault, nearest, parse, raise_faults, read_mapping
from vader_bench.errors import UserError, shown
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

    Paths in a suite file are relative to that file: of prompts, weights, pictures and plug-ins. A file that
    ``extends`` another suite says only what differs; see ``extended``.

    Raises:
        UserError: unknown name, a circle of files, or every fault of the file, one a line.
    """
    return _read_suite(_suite_path(str(name_or_path)), ()).suite


class _SuiteFile(NamedTuple):
    data: dict[str, Any]
    """What the file says together with what it extends; paths in place of its words."""
    suite: SuiteConfig
    written: dict[str, str]
    """By path what the files say."""


def _suite_path(name: str) -> Path:
    if name in suite_names():
        return SUITES_FOLDER / f"{name}.yaml"
    if Path(name).suffix not in {".yaml", ".yml"}:
        remedy = f"{nearest(name, suite_names())}, or a .yaml file"
        raise UserError(f"suite {name!r}", "is not known", remedy)
    return Path(name)


def _read_suite(path: Path, extending: tuple[Path, ...]) -> _SuiteFile:
    """Return the suite in the file ``path``, which the files ``extending`` lead to."""
    data, faults = read_mapping(path)
    places = WrittenPaths(path.parent)
    if "prompts" in data:
        data["prompts"] = replaced(data["prompts"], places.at)
    for key in ("backbone", "rewards", "gold", "prompt_share"):
        if key in data:
            data[key] = _with_paths(data[key], places)
    written = places.written
    if EXTENDS in data:
        base = _base_suite(data.pop(EXTENDS), path, extending)
        data = extended(base.data, data)
        # without what it replaces: that may be written like what is there instead
        used = set(texts(data))
        written = {path: said for path, said in (base.written | written).items() if path in used}
    suite, found = parse(SuiteConfig, data)
    raise_faults(str(path), [*faults, *found])
    assert suite is not None
    return _SuiteFile(data, suite.with_written(written), written)


def _base_suite(name: Any, path: Path, extending: tuple[Path, ...]) -> _SuiteFile:
    """Return the suite ``name`` that the file ``path`` extends."""
    given = f"{path}: {EXTENDS}"
    if not isinstance(name, str):
        raise UserError(given, f"is {shown(name)}, not text", "name a suite or a .yaml file")
    chain = (*extending, path.absolute())
    try:
        base = _suite_path(located(name, path.parent))
    except UserError as error:
        raise UserError(given, f"is {name!r}, which is no suite", error.remedy) from error
    if base.absolute() in chain:
        raise UserError(given, f"is {name!r}, which extends this file itself", "extend another suite")
    return _read_suite(base, chain)


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
    path: Path = Path()
    """The file, which other paths in it are relative to."""
    quick: bool = False
    """Whether it is the file's smaller form."""


def load_experiment(path: str | Path, quick: bool = False, suite: str | None = None) -> LoadedExperiment:
    """Return the experiment in a YAML file, checked as a whole, and with its ``quick`` fields checked too.

    Args:
        path: the file, or the name of an experiment that comes with the package.
        quick: replace fields by those under ``quick``; lists are replaced whole, tables are merged.
        suite: name or file of a suite in place of the file's own, which is not looked at then. Settings
            belong to the suite that they were chosen on: with another one, arms keep only what the experiment
            compares.

    Raises:
        UserError: every fault of the file, one a line: unknown and missing keys, wrong types and
            values, unknown suite, method, reward, prompt set or split, unfit settings of a method; or
            it has no ``quick`` and ``quick`` is asked for.
    """
    path = experiment_path(path)
    if suite is not None:
        _suite_path(suite)  # a name that is not known is no fault of the file
    file = read_experiment_file(path)
    suites, reader = cache(_checked_suite), SettingsReader()  # what the two forms share is read once
    full, faults = _loaded(_on_suite(file.full, suite), suites, reader)
    small, small_faults = _loaded(_on_suite(file.quick, suite), suites, reader)
    new = [fault for fault in small_faults if str(fault) not in set(map(str, faults))]
    raise_faults(str(path), [*file.faults, *faults, *map(_under_quick, new)])
    if quick and not file.full.config.quick:  # the full experiment would run under the name of a smaller one
        remedy = "leave --quick out, or write what a quick run replaces under `quick:`, such as `seeds: [1]`"
        raise UserError(str(path), "has no smaller form", remedy)
    loaded = small if quick else full
    assert loaded is not None
    own = (file.quick if quick else file.full).config
    return replace(loaded, moved=loaded.config.suite != own.suite, path=path, quick=quick)


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
    changes: dict[str, Any] = {"suite": suite, "tuning": []}
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
    if experiment.paths:
        suite = suite.with_written({**suite.paths, **experiment.paths})
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
    if isinstance(family := component.get("family"), str):
        component = component | {"family": places.code(family)}
    settings = component.get("settings")
    if not isinstance(settings, dict):
        return {key: _with_paths(inner, places) for key, inner in component.items()}
    if isinstance(file := settings.get("file"), str) and component.get("family") == "plugin":
        settings = settings | {"file": places.at(f"./{file}" if "/" not in file else file)}
    return component | {"settings": replaced(settings, places.weights)}


def _under_quick(fault: Fault | UserError) -> Fault | UserError:
    return fault._replace(key=f"quick.{fault.key}") if isinstance(fault, Fault) else fault
