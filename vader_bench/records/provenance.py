"""Where a number came from: the code, the packages, the machine and the commit."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vader_bench.records.cores import usable_cores

__all__ = ["PACKAGES", "code_digest", "git_state", "machine", "package_versions", "repository_root"]

PACKAGES = (
    "accelerate", "av", "diffusers", "matplotlib", "mlflow", "numpy", "pandas", "peft", "pydantic",
    "safetensors", "scipy", "tokenizers", "torch", "transformers", "trl", "vader-bench",
)  # fmt: skip
"""Distributions whose version can change a result or its presentation."""

_PACKAGE = Path(__file__).parents[1]


def repository_root() -> Path:
    """Return the folder that holds the package: the root of the repository in a checkout."""
    return _PACKAGE.parent


def code_digest(package: Path = _PACKAGE) -> str:
    """Return the SHA-256 over the names and bytes of all ``.py`` files of ``package``, in sorted order."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py"), key=lambda path: path.relative_to(package).as_posix()):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """Return the version of Python and of each of ``PACKAGES`` that is installed, by name."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # absent is absent: the report tools run without torch
    return found


def machine() -> dict[str, Any]:
    """Return what the numbers were computed on; no name of a host or a user.

    ``cores`` are those this process may use, ``memory_gib`` is the machine's. Where torch is in use,
    ``threads`` are the ones it computes with and ``gpus`` the names of the GPUs it sees.
    """
    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
    }
    torch = sys.modules.get("torch")  # asked only where it runs anyway: a report must not load it
    if torch is not None:
        found["threads"] = torch.get_num_threads()
        found["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return found


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
