"""What this machine has for running experiments, what is missing, and what to do about it.

What needs torch or other packages is imported late, since they may be what is missing.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Final, NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from vader_bench import files
from vader_bench.errors import UserError

__all__ = ["Finding", "examine"]

_PROJECT: Final = "vader-bench"
_LEAST_DISK: Final = 2.0
"""GB of free disk below which a grid of runs may not end: one with videos of every arm takes some 0.2."""


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    found: str
    remedy: str = ""
    """What to do; empty where all is well."""
    needed: bool = True
    """Whether runs fail without it."""

    @property
    def verdict(self) -> str:
        """Return ``ok``, ``missing`` or ``note``, which says what only some need."""
        return "ok" if not self.remedy else "missing" if self.needed else "note"


def examine(suite: str, results: Path, tracking: str | None) -> Iterator[Finding]:
    """Yield what was found, in the order in which a run needs it. Nothing stays behind or is downloaded.

    Where packages are missing or of another version, that is all: the rest is looked at with them.

    Args:
        suite: name or file of the suite whose weights are looked for.
        results: folder of all results; it need not exist yet.
        tracking: address of the MLflow store, as ``run --tracking`` takes it.

    Raises:
        UserError: there is no such suite, or it has faults.
    """
    packages = _packages()
    yield from packages
    if any(one.verdict == "missing" for one in packages):
        return
    yield from _machine()
    yield _folder(results)
    yield _disk(results)
    yield _tracking(results, tracking)
    yield from _weights(suite)
    yield from _extras()


def _packages() -> list[Finding]:
    """Return what was found of Python, and of all packages if they fit, else of each that does not."""
    own = platform.python_version()
    try:
        wanted = str(metadata(_PROJECT)["Requires-Python"])
    except PackageNotFoundError:  # a checkout on the path: what it needs is written nowhere else
        return [
            Finding("python", own),
            Finding("packages", f"{_PROJECT} is not installed", "pip install -e .", needed=False),
        ]
    fits = SpecifierSet(wanted).contains(own, prereleases=True)
    found = [Finding("python", own, "" if fits else f"make an environment with Python {wanted}")]
    wrong = []
    for requirement in map(Requirement, requires(_PROJECT) or ()):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            there = version(requirement.name)
        except PackageNotFoundError:
            there = "not installed"
        if there == "not installed" or not requirement.specifier.contains(there, prereleases=True):
            remedy = f"pip install '{requirement.name}{requirement.specifier}'"
            wrong.append(Finding(requirement.name, there, remedy))
    if not wrong:
        shown = (_PROJECT, "torch", "diffusers", "transformers", "trl")
        wrong = [Finding("packages", ", ".join(f"{name} {version(name)}" for name in shown))]
    return found + wrong


def _machine() -> Iterator[Finding]:
    import torch  # so that the GPUs are counted

    from vader_bench.records.provenance import machine

    here = machine("cpu")
    cores = "core" if here["cores"] == 1 else "cores"
    yield Finding(
        "processor", f"{here['cores']} {cores}, {here['memory_gib']:g} GiB of memory, {here['processor']}"
    )
    for index, name in enumerate(here["gpus"]):
        memory = torch.cuda.get_device_properties(index).total_memory
        yield Finding("gpu", f"cuda:{index}, {name}, {memory / 2**30:.1f} GiB")
    if not here["gpus"] and shutil.which("nvidia-smi"):
        remedy = "install the build of torch for your driver (https://pytorch.org/get-started)"
        yield Finding(
            "gpu", f"there is a driver, but torch {torch.__version__} sees no card", remedy, needed=False
        )
    elif not here["gpus"]:
        yield Finding("gpu", "none: the pocket suites need none, `plan` says what others need")


def _nearest(path: Path) -> Path:
    """Return ``path``, or the nearest folder above it that exists; a file may stand in their place."""
    return next(found for found in (path.resolve(), *path.resolve().parents) if found.exists())


def _refusal(folder: Path) -> str:
    """Return why nothing can be written to ``folder``, which may be still to be made; empty where it can."""
    try:
        with files.temporary(_nearest(folder) / "doctor"):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__


def _folder(results: Path) -> Finding:
    if why := _refusal(results):
        return Finding("results", f"{results}: {why}", "give a folder that can be written, with --out")
    where = str(results.resolve()) if results.is_dir() else f"{results.resolve()} will be made"
    return Finding("results", where)


def _disk(results: Path) -> Finding:
    free = shutil.disk_usage(_nearest(results)).free / 1e9
    remedy = f"free {_LEAST_DISK - free:.1f} GB, or give --out on another disk" if free < _LEAST_DISK else ""
    return Finding("disk", f"{free:.1f} GB free", remedy)


def _tracking(results: Path, given: str | None) -> Finding:
    from vader_bench.records.tracking import Store, StoreError, read_address

    try:
        store = Store(read_address(given, results))
    except UserError as error:
        return Finding("mlflow", f"{error.given}: {error.wrong}", error.remedy)
    where = store.address.path or store.address.shown
    try:
        store.check()
    except StoreError as error:  # training goes on without it, and `sync` sends what it has missed
        return Finding("mlflow", f"{where} {error}", error.remedy, needed=False)
    if store.address.path is None or store.address.path.exists():
        return Finding("mlflow", f"{where}")
    if why := _refusal(store.address.path.parent):
        return Finding("mlflow", f"{where}: {why}", "give a folder that can be written, with --tracking")
    return Finding("mlflow", f"{where} will be made")


def _weights(name: str) -> Iterator[Finding]:
    from vader_bench.experiment.load import load_suite
    from vader_bench.experiment.resolve import weights_to_fetch

    suite = load_suite(name)
    try:
        lacking = weights_to_fetch(suite, list(suite.rewards))
    except UserError as error:  # not of the hub: the first one that is missing or not what it should be
        lacking = [error]
    for one in lacking:
        yield Finding("weights", f"{one.given} {one.wrong}", one.remedy)
    if not lacking:
        names = suite.weights(*suite.rewards)
        yield Finding("weights", f"all {len(names)} of suite {suite.suite}")


def _extras() -> Iterator[Finding]:
    """Yield what some settings and commands need beside the packages of every run."""
    from vader_bench.human.rehearsal.browser import require_browser
    from vader_bench.methods.optimizers import require_optimizer

    for what, use, require in (
        ("bitsandbytes", "`memory.optimizer: adamw8bit`", lambda: require_optimizer("adamw8bit")),
        ("browser", "`study rehearse`", require_browser),
    ):
        try:
            require()
        except UserError as error:
            yield Finding(what, f"{error.given} {error.wrong}", error.remedy, needed=False)
        else:
            yield Finding(what, f"there, for {use}")
