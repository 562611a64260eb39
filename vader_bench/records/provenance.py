"""Where a number came from: the code, the packages, the machine and the commit."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vader_bench.records.cores import usable_cores
from vader_bench.registry import Registry, offered, own_code, own_digest

__all__ = [
    "COMPUTING", "PACKAGES", "code_digest", "device_name", "git_state", "imported_files", "machine",
    "others_code", "package_versions", "plugin_code", "remember_training_code", "repository_root",
    "training_code", "training_git",
]  # fmt: skip

PACKAGES = (
    "accelerate", "av", "diffusers", "ftfy", "matplotlib", "mlflow", "numpy", "pandas", "peft", "pydantic",
    "safetensors", "scipy", "tokenizers", "torch", "transformers", "trl", "vader-bench",
)  # fmt: skip
"""Distributions whose version can change a result or its presentation."""

COMPUTING = (
    "accelerate", "diffusers", "ftfy", "numpy", "peft", "tokenizers", "torch", "transformers", "trl",
)  # fmt: skip
"""Those whose version can change the bits of an adapter or of a score; ftfy cleans the prompts of Wan."""

_PACKAGE = Path(__file__).parents[1]
_ENTRY = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)+:[A-Za-z_][A-Za-z0-9_]*")
"""A line of a registry's table."""
_TRAINING = "training/session.py"
"""All that trains and measures is imported from here."""


def repository_root() -> Path:
    """Return the folder that holds the package: the root of the repository in a checkout."""
    return _PACKAGE.parent


def code_digest(package: Path = _PACKAGE) -> str:
    """Return the SHA-256 over the names and bytes of all ``.py`` files of ``package``, in sorted order."""
    return _digest(package, package.rglob("*.py"))


@cache
def training_code() -> str:
    """Return the SHA-256 of the code that trains and measures, as it was when this was first asked.

    A comma in a report changes nothing of it, and a file that is edited while a process trains neither.
    """
    return _digest(_PACKAGE, imported_files(_PACKAGE, _TRAINING))


@cache
def training_git() -> dict[str, Any]:
    """Return the ``git_state`` of the package, as it was when this was first asked."""
    return git_state()


def remember_training_code() -> None:
    """Take ``training_code`` and ``training_git`` now, for as long as this process and its forks live.

    Called where that code is imported: a worker outlives a change of the files that it was imported from.
    """
    training_code()
    training_git()


def others_code(registry: Registry[Any], name: str) -> str:
    """Return the SHA-256 of the package or file that offers ``name``; empty where none does.

    Nothing of the project's own is imported for it.

    Raises:
        UserError: what is offered cannot be used; see ``Registry.get``.
    """
    offers = own_code(name) is not None or name in offered(registry.group)
    return plugin_code(registry.get(name)) if offers and name not in registry.table else ""


def plugin_code(thing: object) -> str:
    """Return the SHA-256 of the package or the user's file that defines ``thing``; empty where this one does.

    Args:
        thing: a class, a function or an instance, as an installed package or a file adds to a registry.
    """
    if own := own_digest(thing):
        return own
    name = getattr(thing, "__module__", "").partition(".")[0]
    path = getattr(sys.modules.get(name), "__file__", None)
    if name == _PACKAGE.name or path is None:
        return ""
    if Path(path).name == "__init__.py":
        return code_digest(Path(path).parent)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def imported_files(package: Path, start: str) -> set[Path]:
    """Return the files of ``package`` that its file ``start`` imports, late and by way of others too.

    Imported is also what a table of names has: ``"package.module:Class"``.
    """
    found: set[Path] = set()
    ahead = [package / start]
    while ahead:
        path = ahead.pop()
        if path not in found:
            found.add(path)
            ahead += _imports(package, path)
    return found


def _imports(package: Path, path: Path) -> Iterator[Path]:
    """Yield the files of ``package`` that are run when ``path`` is imported, and its late imports."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _ENTRY.fullmatch(node.value):
            names = [node.value.partition(":")[0]]
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for parts in (name.split(".") for name in names):
            if parts[0] == package.name:
                yield from _files(package, parts[1:])


def _files(package: Path, parts: list[str]) -> Iterator[Path]:
    """Yield the module ``parts`` of ``package``, and the ``__init__.py`` on the way to it."""
    folders = [package.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    yield from (init for folder in folders if (init := folder / "__init__.py").is_file())
    if parts and (module := folders[-1].with_name(f"{parts[-1]}.py")).is_file():
        yield module


def _digest(package: Path, paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.relative_to(package).as_posix()):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """Return the version of Python and of each of ``PACKAGES`` that is installed, by name."""
    installed = {name: _version(name) for name in PACKAGES}  # absent is absent: reports do without torch
    return {
        "python": platform.python_version(),
        **{name: found for name, found in installed.items() if found is not None},
    }


@cache
def _version(name: str) -> str | None:
    """Return the version of a distribution; each measurement asks for all of them."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def machine(device: str = "cpu") -> dict[str, Any]:
    """Return what the numbers are computed on, on ``device``; no name of a host or a user.

    ``device`` is ``cpu`` or ``cuda``; ``cores`` are those this process may use, ``memory_gib`` is the
    machine's. Where torch is in use, ``threads`` are the ones it computes with and ``gpus`` the names of the
    GPUs it sees.
    """
    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": usable_cores(),
        "device": device.partition(":")[0],
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
    }
    torch = sys.modules.get("torch")  # asked only where it runs anyway: a report must not load it
    if torch is not None:
        found["threads"] = torch.get_num_threads()
        found["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return found


def device_name(device: str) -> str:
    """Return what the torch device ``device`` is: ``cpu``, or the name of the GPU."""
    if not device.startswith("cuda"):
        return device
    import torch

    return str(torch.cuda.get_device_name(device))


def git_state(root: Path | None = None) -> dict[str, Any]:
    """Return ``commit`` and ``dirty`` of the checkout ``root``, which is by default the package's own.

    ``dirty`` says that the package's folder differs from the commit, new files included; results and
    other files do not count. Empty where ``root`` is no checkout with a commit, or git is missing.
    """
    root = (root or repository_root()).resolve()
    top = _git(root, "rev-parse", "--show-toplevel")
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    status = _git(root, "status", "--porcelain", "--", _PACKAGE.name)
    if top is None or Path(top).resolve() != root or commit is None or status is None:
        return {}
    return {"commit": commit, "dirty": bool(status)}


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git says about ``root``, or ``None`` where it refuses or does not exist."""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 -- fixed words
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _processor() -> str:
    """Return the processor's name; Linux tells it in a file, other systems through ``platform``."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8", "replace").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
