"""Cores are counted as the machine, the container and the job grant them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vader_bench.records.cores import usable_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def groups(folder: Path, own: str, **files: str) -> tuple[Path, Path]:
    """Write the files of control groups, ``__`` for a slash and ``_DOT_`` for a dot, and a process's own."""
    for name, content in files.items():
        path = folder / "cgroup" / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    (folder / "self").write_text(own)
    return folder / "cgroup", folder / "self"


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("350000 100000", 3),
        ("50000 100000", 1),
        ("1600000 100000", 8),
    ],
)
def test_a_containers_quota_of_version_2(tmp_path: Path, quota: str, cores: int) -> None:
    assert usable_cores(*groups(tmp_path, "0::/\n", cpu_DOT_max=quota)) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("400000", 4), ("20000", 1)])
def test_a_containers_quota_of_version_1(tmp_path: Path, quota: str, cores: int) -> None:
    own = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"
    files = {
        "cpu,cpuacct__cpu_DOT_cfs_quota_us": quota,
        "cpu,cpuacct__cpu_DOT_cfs_period_us": "100000",
    }
    assert usable_cores(*groups(tmp_path, own, **files)) == cores


def test_the_tightest_group_above_a_job_counts(tmp_path: Path) -> None:
    files = {
        "slurm__job1__cpu_DOT_max": "600000 100000",
        "slurm__job1__step__cpu_DOT_max": "max 100000",
        "slurm__cpu_DOT_max": "700000 100000",
        "other__cpu_DOT_max": "100000 100000",
    }
    assert usable_cores(*groups(tmp_path, "0::/slurm/job1/step\n", **files)) == 6
    own = "3:cpu:/slurm/job1\n"
    files = {
        "cpu__slurm__cpu_DOT_cfs_quota_us": "300000",
        "cpu__slurm__cpu_DOT_cfs_period_us": "100000",
    }
    assert usable_cores(*groups(tmp_path, own, **files)) == 3


def test_no_groups_are_no_limit(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "nowhere", tmp_path / "nothing") == 8
    assert usable_cores(*groups(tmp_path, "0::/\n")) == 8
