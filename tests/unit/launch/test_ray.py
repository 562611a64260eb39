"""Runs on a Ray cluster have the records of runs on one machine, even where a machine goes meanwhile."""

from __future__ import annotations

import fcntl
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.configs import run_config, tiny_run
from tests.unit.launch.test_local import Notes
from vader_bench.config.schema import RunConfig
from vader_bench.experiment.job import Job
from vader_bench.launch import ray
from vader_bench.launch.crew import launch
from vader_bench.launch.ray import Needs, RayExecutor, needs_of
from vader_bench.launch.storage import Storage
from vader_bench.records.folder import RunFolder
from vader_bench.records.locks import LOCK_NAME
from vader_bench.training import session
from vader_bench.training.progress import Progress
from vader_bench.training.session import execute

ROOT = Path(__file__).parents[3]
NODE, DIARY = "VADER_TEST_NODE", "VADER_TEST_DIARY"


def test_a_run_gets_a_card_where_there_are_any_and_a_core_elsewhere() -> None:
    assert needs_of([{"CPU": 8.0}, {"CPU": 4.0}], released=False) == Needs(gpus=0, cpus=1)
    assert needs_of([{"CPU": 64.0}, {"CPU": 16.0, "GPU": 4.0}], released=False) == Needs(gpus=1, cpus=4)
    assert needs_of([{"CPU": 2.0, "GPU": 8.0}], released=False) == Needs(gpus=1, cpus=1)
    assert needs_of([{"CPU": 64.0}], released=True) == Needs(gpus=1, cpus=1)


def test_a_run_is_not_taken_because_somebody_looks_whether_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "_joined", lambda: SimpleNamespace(nodes=list))
    storage = Storage(f"file://{tmp_path}/store", tmp_path)
    executor = RayExecutor(slowly, [], None, storage, lambda _: None)
    job = Job(run_config(), tmp_path / "run")
    RunFolder(job.folder).open(job.config).close()
    with (job.folder / LOCK_NAME).open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)  # as ``in_use`` has it
        end = threading.Timer(0.05, fcntl.flock, (looking, fcntl.LOCK_UN))
        end.start()
        refused = executor._packed(job, storage)
        end.join()
    assert refused is None
    assert RunFolder(job.folder).in_use
    executor._held[job.name].release()


def slowly(config: RunConfig, folder: Path, device: str, report: Callable[[Progress], None]) -> None:
    """Do a run with pauses, and write down where it is done and whether it goes on."""
    with Path(os.environ[DIARY]).open("a", encoding="utf-8") as diary:
        goes_on = folder.is_dir() and RunFolder(folder).resumable
        diary.write(f"{config.name} {os.environ.get(NODE, 'first')} {goes_on} {'ray' in sys.modules}\n")

    def pause(progress: Progress) -> None:
        report(progress)
        time.sleep(0.2)

    session.SAVING_SHARE = math.inf  # else a busy machine makes none in a run this short
    execute(config, folder, device, pause)


def records(jobs: list[Job]) -> dict[str, Any]:
    """Return the records without what is measured, or differs from machine to machine."""
    found = {}
    for job in jobs:
        record = RunFolder(job.folder).load_record().model_dump(mode="json")
        for name in ("machine", "git", "command"):
            del record[name]
        del record["ledger"]["device_seconds"]
        for evaluation in record["evaluations"]:
            del evaluation["device_seconds"]
        found[job.name] = record
    return found


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of two machines with a core each, both of them this one."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'vader-bench[ray]'")
    for name, value in {
        "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "RAY_USAGE_STATS_ENABLED": "0",
        DIARY: str(tmp_path / "diary"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    machines = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    # else a process that watches over the cluster ends all of this process group with it
    made = Cluster(initialize_head=True, head_node_args=machines, shutdown_at_exit=False)
    made.second = made.add_node(**machines, env_vars={NODE: "second"})
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    made.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray leaves files and sockets open
@pytest.mark.parametrize("through", ["a shared folder", "a store"])
def test_a_run_goes_on_where_its_machine_was_killed(
    cluster: Any, through: str, tiny_pipeline: Path, tmp_path: Path
) -> None:
    configs = [tiny_run(tiny_pipeline, seed=seed) for seed in (1, 2)]
    here, there = (
        [Job(config, tmp_path / place / "small" / "tiny" / "runs" / config.name) for config in configs]
        for place in ("here", "there")
    )
    for job in here:
        execute(job.config, job.folder)
    for job in there:
        RunFolder(job.folder).open(job.config).close()
    storage = Storage(f"file://{tmp_path}/store", tmp_path / "there") if through == "a store" else None
    checkpoints = tmp_path / ("there" if storage is None else "store")

    def kill() -> None:
        diary, end = tmp_path / "diary", time.monotonic() + 300
        while time.monotonic() < end:
            lines = diary.read_text("utf-8").splitlines() if diary.exists() else []
            name = next((line.split()[0] for line in lines if line.split()[1] == "second"), "none")
            if (checkpoints / "small" / "tiny" / "runs" / name / "checkpoint").exists():
                cluster.remove_node(cluster.second, allow_graceful=False)
                return
            time.sleep(0.05)

    killer, notes = threading.Thread(target=kill), Notes()
    executor = RayExecutor(slowly, there, None, storage, notes.note)
    killer.start()
    assert launch(there, executor, notes) == []
    killer.join()
    assert ("note", "Ray: 2 machines, 1 core a run, 2 runs at a time") in notes.events
    assert [event for event, _ in notes.events].count("withdrawn") == 1
    visits = [line.split() for line in (tmp_path / "diary").read_text("utf-8").splitlines()]
    assert all(imports == "False" for *_, imports in visits), "a worker never imports Ray"
    [lost] = [name for name, node, *_ in visits if node == "second"]
    assert [visit[1:3] for visit in visits if visit[0] == lost] == [["second", "False"], ["first", "True"]]
    assert records(there) == records(here)
    assert storage is None or not list((tmp_path / "store").rglob("*.json")), (
        "what is gathered is deleted there"
    )
