"""Many runs, whatever executes them: none is lost, and none that another launcher has is waited for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.launch.test_local import Notes, jobs
from vader_bench.experiment.job import Job
from vader_bench.launch import crew as module
from vader_bench.launch.crew import launch
from vader_bench.launch.executor import Finished, Lost, News, Taken
from vader_bench.records.locks import FolderLock
from vader_bench.training.progress import Progress


class Scripted:
    """An executor that says of a run, each time it is submitted, what comes next in its script."""

    device = "cpu"

    def __init__(self, slots: int = 1, **scripts: list[News]) -> None:
        self.slots = slots
        self.scripts = {name.replace("_", "-"): list(script) for name, script in scripts.items()}
        self.submitted: list[str] = []
        self.stopped = False
        self.on_news: Callable[[], object] = lambda: None
        self._said: list[tuple[Job, News]] = []

    def submit(self, job: Job) -> None:
        self.submitted.append(job.name)
        script = self.scripts.get(job.name, [])
        self._said.append((job, script.pop(0) if script else Finished()))

    def news(self, seconds: float) -> list[tuple[Job, News]]:
        self.on_news()
        said, self._said = self._said, []
        return said

    def stop(self) -> None:
        self.stopped = True


def made(folder: Path, *seeds: int) -> list[Job]:
    found = jobs(folder, *seeds)
    for job in found:
        job.folder.mkdir()
    return found


FIRST, SECOND = "vader-red-seed1", "vader-red-seed2"


def test_a_run_whose_machine_has_gone_is_given_to_another(tmp_path: Path) -> None:
    notes, executor = Notes(), Scripted(vader_red_seed1=[Lost("gone"), Lost("gone")])
    assert launch(made(tmp_path, 1, 2), executor, notes) == []
    assert sorted(executor.submitted) == [FIRST, FIRST, FIRST, SECOND]
    told = [event for event, who in notes.events if who == FIRST]
    assert told == ["started", "withdrawn", "started", "withdrawn", "started", "finished"]
    assert ("note", f"lost    {FIRST}: gone; it goes on from its last checkpoint") in notes.events
    assert notes.overalls[-1][:2] == (2, 2)
    assert executor.stopped


def test_a_run_that_takes_machine_after_machine_with_it_fails(tmp_path: Path) -> None:
    executor = Scripted(vader_red_seed1=[Lost("gone")] * 9)
    [failure] = launch(made(tmp_path, 1), executor, Notes())
    assert failure.message == "gone, 4 times"
    assert executor.submitted == [FIRST] * 4


def test_a_run_that_another_launcher_has_is_not_waited_for(tmp_path: Path) -> None:
    notes, executor = Notes(), Scripted()
    with FolderLock(made(tmp_path, 1)[0].folder):
        assert launch(jobs(tmp_path, 1), executor, notes) == []
        assert executor.submitted == []
        (tmp_path / SECOND).mkdir()
        assert launch(jobs(tmp_path, 1, 2), executor, notes) == []
    assert executor.submitted == [SECOND]
    assert notes.overalls[-1][:2] == (1, 2)


def test_a_run_that_another_launcher_lets_go_is_taken_over(tmp_path: Path) -> None:
    both = made(tmp_path, 1, 2)
    lock = FolderLock(both[0].folder)
    executor = Scripted(vader_red_seed2=[Progress(1, 2, "")])

    def let_go() -> None:
        if executor.submitted == [SECOND] and not executor._said:
            lock.release()
            executor.on_news = lambda: executor._said.append((both[1], Finished()))

    executor.slots, executor.on_news = 2, let_go
    assert launch(both, executor, Notes()) == []
    assert executor.submitted == [SECOND, FIRST]


def test_who_was_faster_has_the_run(tmp_path: Path) -> None:
    """Two launchers may give out the same run at the same moment; the second worker finds it taken."""
    notes, executor = Notes(), Scripted(vader_red_seed1=[Taken()])
    [job] = made(tmp_path, 1)
    locks: list[FolderLock] = []
    executor.on_news = lambda: locks.append(FolderLock(job.folder))
    assert launch([job], executor, notes) == []
    locks[0].release()
    assert [event for event, _ in notes.events] == ["started", "withdrawn"]


def test_a_lost_run_may_stay_locked_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of NFS needs a minute to see that a machine is dead."""
    [job] = made(tmp_path, 1)
    executor = Scripted(vader_red_seed1=[Lost("gone")])
    turns: list[int] = []
    monkeypatch.setattr(module, "in_use", lambda folder: bool(turns) and len(turns) < 5)
    executor.on_news = lambda: turns.append(1)
    assert launch([job], executor, Notes()) == []
    assert executor.submitted == [FIRST, FIRST]
    assert len(turns) >= 5
    turns.clear()
    monkeypatch.setattr(module, "_HELD_SECONDS", 0.0)
    executor = Scripted(vader_red_seed1=[Lost("gone")])
    executor.on_news = lambda: turns.append(1)
    assert launch([job], executor, Notes()) == []
    assert executor.submitted == [FIRST], "it is another launcher's by now"
