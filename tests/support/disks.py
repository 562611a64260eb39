"""Small disks, which fill up and can be made read-only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["Disk", "mounted"]


class Disk:
    """A file system of its own, mounted at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def change(self, options: str) -> None:
        """Mount it again with other ``options``, as ``size=1m``, ``nr_inodes=9`` or ``ro``."""
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.path)], check=True)


@contextmanager
def mounted(path: Path, options: str) -> Iterator[Disk]:
    """Mount a file system in memory at ``path``, or skip the test where that is not allowed."""
    path.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no command `mount` here")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
