"""Processes that do one run together: when one fails, all end, and the run can go on."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.configs import tiny_run
from vader_bench.config.schema import RunConfig
from vader_bench.errors import ExitCode, UserError
from vader_bench.launch.together import execute_together, work_together
from vader_bench.methods.vader import Vader
from vader_bench.records.folder import RunFolder
from vader_bench.records.record_file import read_record
from vader_bench.training import session
from vader_bench.training.progress import Progress
from vader_bench.world import World

CPU = torch.device("cpu")
Report = Callable[[Progress], None]


def alone_fails(world: World, device: str, report: Report) -> None:
    if world.rank == 1:
        raise UserError("the second", "is unlucky", "use one", exit_code=ExitCode.MISSING)
    world.total([1], CPU)  # waits for it


def test_what_one_process_refuses_ends_all_and_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the second: is unlucky; use one") as caught:
        work_together(alone_fails, 2, "cpu", lambda _: None, tmp_path / "log.txt")
    assert caught.value.exit_code == ExitCode.MISSING


def first_waits(folder: Path, world: World, device: str, report: Report) -> None:
    report(Progress(world.total([world.rank + 1], CPU)[0], 3, device))
    (folder / str(world.rank)).write_text(str(os.getpid()))
    if world.rank == 1:
        raise ZeroDivisionError("a defect")
    world.total([1], CPU)


def test_a_defect_in_one_process_ends_all_and_is_in_the_log(tmp_path: Path) -> None:
    log, said = tmp_path / "log.txt", list[Progress]()
    with pytest.raises(UserError, match=f"device [12] of 2: stopped with exit code 1, .*; see {log}"):
        work_together(partial(first_waits, tmp_path), 2, "cpu", said.append, log)
    assert said == [Progress(3, 3, "cpu")] * 2
    assert "ZeroDivisionError: a defect" in log.read_text()
    for rank in "01":
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / rank).read_text()), 0)


def second_dies(config: RunConfig, folder: Path, world: World, device: str, report: Report) -> None:
    """Do the run, but for the second process's third step."""
    if world.rank == 0:
        session.SAVING_SHARE = math.inf  # after every step
        session.execute(config, folder, device, report, world=world)
        return
    step, steps = Vader.step, list[int]()

    def last(method: Vader, allowance: int) -> dict[str, float]:
        steps.append(allowance)
        if len(steps) == 3:
            folder.with_name("died").write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)
        return step(method, allowance)

    Vader.step = last  # type: ignore[method-assign, assignment]
    session.follow(config, device, world)


def comparable(folder: Path) -> dict[str, Any]:
    data = read_record(folder / "record.json").model_dump(mode="json")
    del data["ledger"]["device_seconds"]
    for evaluation in data["evaluations"]:
        del evaluation["device_seconds"]
    return data


@pytest.mark.slow
def test_a_killed_process_ends_the_run_at_once_and_it_goes_on_from_its_checkpoint(
    tiny_pipeline: Path, tmp_path: Path
) -> None:
    config = tiny_run(tiny_pipeline)
    whole, broken = tmp_path / "whole" / "run", tmp_path / "broken" / "run"
    execute_together(config, whole, "cpu", lambda _: None, devices=2)
    with pytest.raises(UserError, match="device 2 of 2: stopped with exit code -9"):
        work_together(partial(second_dies, config, broken), 2, "cpu", lambda _: None, tmp_path / "log.txt")
    assert time.time() - float(broken.with_name("died").read_text()) < 10
    run = RunFolder(broken)
    assert run.resumable
    assert not run.trained
    assert [line["queries"] for line in run.metrics() if line["kind"] == "step"] == [2, 4]
    with pytest.raises(UserError, match="was made with other devices, and one run is never made of two"):
        session.execute(config, broken)
    execute_together(config, broken, "cpu", lambda _: None, devices=2)
    assert comparable(broken) == comparable(whole)
    for queries in (4, 8):
        assert run.adapter_path(queries, 8).read_bytes() == (
            RunFolder(whole).adapter_path(queries, 8).read_bytes()
        )
