"""Runs in worker processes: none takes another with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.configs import run_config
from vader_bench import files
from vader_bench.config.schema import RunConfig
from vader_bench.errors import ExitCode, UserError
from vader_bench.experiment.job import Job
from vader_bench.launch.crew import launch
from vader_bench.launch.display import Failure
from vader_bench.launch.local import LocalExecutor, worker_devices
from vader_bench.registry import load_own
from vader_bench.training.progress import Progress


class Notes:
    """A display that remembers what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.overalls: list[tuple[int, int, float | None]] = []
        self.on_start: Callable[[], object] = lambda: None

    def started(self, name: str) -> None:
        self.events.append(("started", name))
        self.on_start()

    def progressed(self, name: str, progress: Progress) -> None:
        self.events.append((progress.note, name))

    def finished(self, name: str, seconds: float) -> None:
        assert seconds > 0
        self.events.append(("finished", name))

    def failed(self, failure: Failure) -> None:
        self.events.append(("failed", failure.name))

    def withdrawn(self, name: str) -> None:
        self.events.append(("withdrawn", name))

    def overall(self, done: int, total: int, seconds_left: float | None) -> None:
        self.overalls.append((done, total, seconds_left))

    def note(self, text: str) -> None:
        self.events.append(("note", text))


def work(config: RunConfig, folder: Path, device: str, report: Callable[[Progress], None]) -> None:
    """Do what the run's seed says, in place of a real run."""
    sys.stdout.write(f"working on {config.name} on {device}\n")
    report(Progress(1, 2, "half"))
    if config.seed == 13:
        raise UserError("seed 13", "is unlucky", "choose another", exit_code=ExitCode.MISSING)
    if config.seed == 14:
        raise ZeroDivisionError("a defect")
    if config.seed == 15:
        os.kill(os.getpid(), signal.SIGKILL)
    if config.seed == 16:
        time.sleep(600)
    if config.seed == 18:
        with files.temporary(folder / "video.mp4"):
            report(Progress(1, 2, "writing"))
            time.sleep(600)
    (folder / "done").write_text(str(os.getpid()))


def jobs(folder: Path, *seeds: int) -> list[Job]:
    configs = [run_config(seed=seed) for seed in seeds]
    return [Job(config, folder / config.name) for config in configs]


def test_all_runs_are_done_by_no_more_processes_than_devices(tmp_path: Path) -> None:
    notes = Notes()
    watched: list[Path] = []
    assert (
        launch(jobs(tmp_path, 1, 2, 3, 4, 5), LocalExecutor(["cpu", "cpu"], work), notes, watched.append)
        == []
    )
    pids = {(tmp_path / f"vader-red-seed{seed}" / "done").read_text() for seed in range(1, 6)}
    assert 1 <= len(pids) <= 2
    assert str(os.getpid()) not in pids
    for seed in range(1, 6):
        name = f"vader-red-seed{seed}"
        assert [event for event, who in notes.events if who == name] == ["started", "half", "finished"]
        assert tmp_path / name in watched
    assert notes.overalls[-1] == (5, 5, 0.0)


def test_what_a_run_prints_goes_to_its_own_log(tmp_path: Path) -> None:
    launch(jobs(tmp_path, 1, 2), LocalExecutor(["cpu"], work), Notes())
    assert (tmp_path / "vader-red-seed1" / "log.txt").read_text() == "working on vader-red-seed1 on cpu\n"
    assert (tmp_path / "vader-red-seed2" / "log.txt").read_text() == "working on vader-red-seed2 on cpu\n"


def test_failures_are_reported_and_the_other_runs_go_on(tmp_path: Path) -> None:
    notes = Notes()
    failures = launch(jobs(tmp_path, 13, 14, 15, 1, 2), LocalExecutor(["cpu", "cpu"], work), notes)
    by_name = {failure.name: failure for failure in failures}
    assert set(by_name) == {"vader-red-seed13", "vader-red-seed14", "vader-red-seed15"}
    unlucky = by_name["vader-red-seed13"]
    assert unlucky.message == "seed 13: is unlucky; choose another"
    assert unlucky.exit_code == ExitCode.MISSING
    log = tmp_path / "vader-red-seed14" / "log.txt"
    assert by_name["vader-red-seed14"].message == f"stopped with exit code 1; see {log}"
    assert "ZeroDivisionError: a defect" in log.read_text()
    assert "stopped with exit code -9" in by_name["vader-red-seed15"].message
    assert by_name["vader-red-seed15"].exit_code == ExitCode.RUN_FAILED
    assert ("finished", "vader-red-seed1") in notes.events
    assert ("finished", "vader-red-seed2") in notes.events


@pytest.mark.usefixtures("interrupts_heard")
def test_an_interrupt_stops_all_workers_at_once(tmp_path: Path) -> None:
    notes = Notes()
    interrupt = threading.Timer(3, os.kill, (os.getpid(), signal.SIGINT))
    notes.on_start = lambda: None if interrupt.is_alive() else interrupt.start()
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        launch(jobs(tmp_path, 16, 17), LocalExecutor(["cpu"], work), notes)
    assert time.monotonic() - before < 60
    assert not (tmp_path / "vader-red-seed17" / "done").exists()


def test_what_a_stopped_worker_was_writing_is_deleted(tmp_path: Path) -> None:
    executor = LocalExecutor(["cpu"], work)
    (job,) = jobs(tmp_path, 18)
    executor.submit(job)
    said = [""]
    while said[-1] != "writing":
        said += [news.note for _, news in executor.news(60) if isinstance(news, Progress)]
    assert list(tmp_path.rglob("*.writing"))
    executor.stop()
    assert [path.name for path in job.folder.iterdir()] == ["log.txt"]


def test_no_jobs_are_no_work(tmp_path: Path) -> None:
    assert launch([], LocalExecutor(["cpu"], work), Notes()) == []


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs to know the cores of a process")
def test_there_is_a_worker_for_each_core_or_as_many_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert worker_devices() == ["cpu"] * len(os.sched_getaffinity(0))
    assert worker_devices(3) == ["cpu"] * 3
    assert worker_devices(devices=10_000) == ["cpu"]


def test_gpus_get_a_worker_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert worker_devices() == ["cuda:0", "cuda:1"]
    assert worker_devices(3) == ["cuda:0", "cuda:1", "cuda:0"]


def test_a_worker_may_have_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 5)
    assert worker_devices(devices=2) == ["cuda:0,1", "cuda:2,3"]
    assert worker_devices(1, 3) == ["cuda:0,1,2"]
    with pytest.raises(UserError, match="--devices 6: are more than the 5 GPUs here; give 5 at most"):
        worker_devices(devices=6)


def test_a_method_whose_file_has_gone_fails_its_run_alone(tmp_path: Path) -> None:
    source = "from vader_bench.config.settings import Settings\nclass Own(Settings):\n    k: int = 1\n"
    (tmp_path / "own.py").write_text(source, "utf-8")
    settings = load_own("method", tmp_path / "own.py").Own(k=7)
    first, second = jobs(tmp_path / "runs", 1, 2)
    lost = Job(first.config.model_copy(update={"settings": settings}), first.folder)
    (tmp_path / "own.py").unlink()
    [failure] = launch([lost, second], LocalExecutor(["cpu"], work), Notes())
    assert failure.name == lost.name
    assert "own.py': does not exist; give the path of a .py file" in failure.message
    assert failure.exit_code == ExitCode.BAD_INPUT
    assert (second.folder / "done").exists()
