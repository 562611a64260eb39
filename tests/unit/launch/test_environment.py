"""A worker's surroundings are its own, whatever job or container it runs in."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.configs import run_config
from tests.unit.launch.test_local import Notes
from vader_bench.config.schema import RunConfig
from vader_bench.experiment.job import Job
from vader_bench.launch import environment as module
from vader_bench.launch.crew import launch
from vader_bench.launch.environment import device_in_worker, worker_environment
from vader_bench.launch.local import LocalExecutor, worker_devices
from vader_bench.training.progress import Progress

JOB = {
    "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500", "PMI_SIZE": "2", "PMI_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2",
    "MV2_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "PMIX_RANK": "1", "SLURM_PROCID": "1",
    "SLURM_NTASKS": "2", "NODE_RANK": "0", "TORCHELASTIC_RUN_ID": "x", "ACCELERATE_USE_FSDP": "true",
    "ACCELERATE_MIXED_PRECISION": "bf16",
}  # fmt: skip
PLAIN = {
    "HOME": "/home/me",
    "PATH": "/bin",
    "HF_HOME": "/models",
    "SLURM_JOB_ID": "7",
    "MLFLOW_TRACKING_URI": "x",
}


@pytest.mark.parametrize("device", ["cpu", "cuda:0", "cuda:1"])
def test_what_a_job_says_of_its_processes_reaches_no_worker(device: str) -> None:
    found = worker_environment(JOB | PLAIN, device, 2)
    assert found.items() >= PLAIN.items()
    assert not found.keys() & JOB.keys()


@pytest.mark.parametrize(
    ("given", "device", "seen"),
    [
        ({}, "cuda:1", "1"),
        ({}, "cuda", "0"),
        ({"CUDA_VISIBLE_DEVICES": "4,6"}, "cuda:1", "6"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-abc, MIG-def"}, "cuda:1", "MIG-def"),
        ({"CUDA_VISIBLE_DEVICES": "3"}, "cpu", "3"),
        ({}, "cuda:2,3", "2,3"),
        ({"CUDA_VISIBLE_DEVICES": "4,6,7"}, "cuda:0,2", "4,7"),
    ],
)
def test_a_worker_sees_its_own_card_alone(given: dict[str, str], device: str, seen: str) -> None:
    assert worker_environment(given, device, 1)["CUDA_VISIBLE_DEVICES"] == seen


def test_cards_of_one_worker_may_talk_to_each_other() -> None:
    found = worker_environment({}, "cuda:2,3", 1)
    assert not found.keys() & {"NCCL_P2P_DISABLE", "NCCL_IB_DISABLE"}
    assert device_in_worker("cuda:2,3") == "cuda:0"


def test_accelerate_has_no_reason_to_refuse_consumer_cards() -> None:
    found = worker_environment({"NCCL_IB_DISABLE": "0"}, "cuda:0", 1)
    assert (found["NCCL_P2P_DISABLE"], found["NCCL_IB_DISABLE"]) == ("1", "0")


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 8)
    assert worker_environment({}, "cuda:0", 2)["OMP_NUM_THREADS"] == "4"
    assert worker_environment({}, "cuda:0", 16)["OMP_NUM_THREADS"] == "1"
    assert worker_environment({"OMP_NUM_THREADS": "3"}, "cuda:0", 2)["OMP_NUM_THREADS"] == "3"
    assert worker_environment({"OMP_NUM_THREADS": "3"}, "cpu", 2)["OMP_NUM_THREADS"] == "1"


def test_there_are_no_more_workers_than_the_quota_grants_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("vader_bench.launch.local.usable_cores", lambda: 3)
    assert worker_devices() == ["cpu"] * 3


def note(config: RunConfig, folder: Path, device: str, report: Callable[[Progress], None]) -> None:
    """Write down the surroundings, in place of a run."""
    (folder / "surroundings.json").write_text(json.dumps([device, dict(os.environ)]))


def test_a_worker_is_born_into_its_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    config = run_config(seed=1)
    assert launch([Job(config, tmp_path / config.name)], LocalExecutor(["cuda:1"], note), Notes()) == []
    device, found = json.loads((tmp_path / config.name / "surroundings.json").read_text())
    assert device == "cuda:0"
    assert found["CUDA_VISIBLE_DEVICES"] == "1"
    assert not found.keys() & JOB.keys()
    assert dict(os.environ) == before
