"""How many processor cores this process may use: its affinity, and the quota of its container or job."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["usable_cores"]

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def usable_cores(groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """Return the number of cores, at least 1; half a core that a quota grants is none.

    Args:
        groups: where Linux shows its control groups, of version 1 or 2.
        own: the file that names those of this process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(int(quota) for quota in _quotas(groups, own))]))


def _quotas(groups: Path, own: Path) -> Iterator[float]:
    """Yield the cores that each control group above this process grants, where it limits them."""
    lines = own.read_text("utf-8").splitlines() if own.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            for folder in _chain([groups, groups / "unified"], path):
                yield from _version_2(folder / "cpu.max")
        elif "cpu" in controllers.split(","):
            for folder in _chain([groups / controllers, groups / "cpu"], path):
                yield from _version_1(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")


def _chain(roots: list[Path], path: str) -> Iterator[Path]:
    """Yield the groups from each root down to ``path``: a container sees its own at the root."""
    for root in roots:
        folder = root
        yield folder
        for part in Path(path).parts[1:]:
            folder /= part
            yield folder


def _version_2(file: Path) -> Iterator[float]:
    words = file.read_text("utf-8").split() if file.is_file() else []
    if len(words) == 2 and words[0] != "max":
        yield int(words[0]) / int(words[1])


def _version_1(quota: Path, period: Path) -> Iterator[float]:
    if quota.is_file() and period.is_file() and (granted := int(quota.read_text("utf-8"))) > 0:
        yield granted / int(period.read_text("utf-8"))
