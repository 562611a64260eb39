"""Workers that are killed, on this machine and on Ray, and two processes that want one run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import Whole
from tests.support.apart import Apart, apart
from tests.support.deaths import Counted, Death, contents, die_in, own_files, train
from tests.unit.launch.test_local import Notes
from tests.unit.launch.test_ray import cluster  # noqa: F401 -- a fixture
from vader_bench.config.schema import RunConfig
from vader_bench.experiment.job import Job
from vader_bench.launch.crew import launch
from vader_bench.launch.local import LocalExecutor
from vader_bench.methods import Method
from vader_bench.records.folder import LOG_NAME, RunFolder
from vader_bench.records.locks import FolderInUseError
from vader_bench.training.progress import Progress

METHODS = ("vader", "nft")


def wait_at_an_update(until: Path) -> None:
    """Let this process wait before its first update for a file to be there."""
    finite = Method.finite

    def waiting(method: Method, norm: Any) -> float:
        while not until.exists():
            time.sleep(0.01)
        return finite(method, norm)

    Method.finite = waiting  # type: ignore[method-assign, assignment]


def test_of_two_processes_on_one_run_the_second_is_refused(
    whole: Callable[[str], Whole], counted: Counted, tmp_path: Path
) -> None:
    undisturbed, folder = whole("vader"), tmp_path / "results" / "vader"
    first = Apart(
        partial(train, undisturbed.config, folder, counted, partial(wait_at_an_update, tmp_path / "go"))
    )
    end = time.monotonic() + 60
    while not (folder / "checkpoint").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    second = apart(partial(train, undisturbed.config, folder, counted))
    assert isinstance(second.error, FolderInUseError)
    assert "is in use by another process; wait until that process has ended" in str(second.error)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (tmp_path / "go").touch()
    assert first.done().error is None
    assert own_files(folder) == undisturbed.names
    assert contents(folder) == undisturbed.left


def once(config: RunConfig, folder: Path, device: str, report: Callable[[Progress], None]) -> None:
    """Do a run, but die in the first attempt at it."""
    del device
    report(Progress(0, 1, ""))
    first = folder.parents[1] / f"{folder.name}-died"
    if first.exists():
        train(config, folder, {})
        return
    first.write_text(str(os.getpid()))
    train(config, folder, {}, partial(die_in, config.method, Death("update", 9)))


def jobs(whole: Callable[[str], Whole], place: Path) -> list[Job]:
    """Return a run of each method; a worker is killed in each."""
    found = [Job(whole(method).config, place / "runs" / method) for method in METHODS]
    for job in found:
        RunFolder(job.folder).open(job.config).close()
    return found


def require_all(found: list[Job], whole: Callable[[str], Whole]) -> None:
    """Require that the runs are what nothing has disturbed."""
    for job in found:
        assert set(own_files(job.folder)) - {LOG_NAME} == set(whole(job.config.method).names)
        left, wanted = contents(job.folder), dict(whole(job.config.method).left)
        left.pop(LOG_NAME, None)
        # Ray's workers may see fewer cores
        records = [{**one.pop("record.json"), "machine": None} for one in (left, wanted)]
        assert records[0] == records[1]
        assert left == wanted


def test_a_killed_worker_fails_its_run_and_the_same_command_goes_on(
    whole: Callable[[str], Whole], tmp_path: Path
) -> None:
    found, notes = jobs(whole, tmp_path), Notes()
    failures = launch(found, LocalExecutor(["cpu"], once), notes)
    said = [f"stopped with exit code -9; see {job.folder / LOG_NAME}" for job in found]
    assert sorted(failure.message for failure in failures) == sorted(said)
    assert all(RunFolder(job.folder).resumable for job in found)
    assert launch(found, LocalExecutor(["cpu"], once), notes) == []
    require_all(found, whole)


@pytest.mark.filterwarnings("default")  # Ray leaves files and sockets open
@pytest.mark.usefixtures("cluster")
def test_a_killed_worker_of_ray_is_replaced(whole: Callable[[str], Whole], tmp_path: Path) -> None:
    from vader_bench.launch.ray import RayExecutor

    found, notes = jobs(whole, tmp_path), Notes()
    assert launch(found, RayExecutor(once, found, None, None, notes.note), notes) == []
    lost = [text for event, text in notes.events if event == "note" and text.startswith("lost")]
    assert len(lost) == len(METHODS)
    assert all(
        "its worker was ended by signal 9; it goes on from its last checkpoint" in text for text in lost
    )
    require_all(found, whole)
