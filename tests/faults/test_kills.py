"""A run that is killed, at whatever moment, ends with the record of one that was not."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import Whole
from tests.support.apart import Apart, apart
from tests.support.deaths import PHASES, Counted, Death, contents, die_in, own_files, report, train
from tests.support.results import Invented, write_results
from tests.support.small_backbone import METHOD_SETTINGS
from vader_bench import files
from vader_bench.records.folder import RunFolder, read_metrics
from vader_bench.records.record_file import read_record

DRAWS = 2
"""Moments a method and phase: 7 methods, 5 phases and 2 moments are 70, and those of the report 8."""
MOMENTS = [(method, phase, draw) for method in METHOD_SETTINGS for phase in PHASES for draw in range(DRAWS)]
REPORTS = 8


def drawn(name: str, passed: int) -> int:
    """Return a random number below ``passed``, the same for a ``name``."""
    return random.Random(name).randrange(passed)


def require_whole(folder: Path) -> None:
    """Require that all that has its own name can be read, whatever was being written."""
    for path in folder.rglob("*.json"):
        files.read_json(path)
    for line in read_metrics(folder / "metrics.jsonl"):
        assert {"kind", "queries"} <= line.keys()
    if (folder / "record.json").exists():
        read_record(folder / "record.json")


def lost_steps(folder: Path) -> int:
    """Return how many steps whose metrics are there will be taken again."""
    steps = [line["queries"] for line in read_metrics(folder / "metrics.jsonl") if line["kind"] == "step"]
    run = RunFolder(folder)
    if run.trained or not steps:
        return 0
    if not run.resumable:
        return len(steps)
    head, _, _ = (folder / "checkpoint").read_bytes().partition(b"\n")
    kept = int(json.loads(head)["metrics_bytes"])
    return len((folder / "metrics.jsonl").read_bytes()[kept:].splitlines())


@pytest.mark.parametrize(("method", "phase", "draw"), MOMENTS)
def test_killed_at_a_random_moment_of_each_phase(
    method: str, phase: str, draw: int, whole: Callable[[str], Whole], counted: Counted, tmp_path: Path
) -> None:
    undisturbed, folder = whole(method), tmp_path / method
    death = Death(phase, drawn(f"{method} {phase} {draw}", undisturbed.moments[phase]))
    killed = partial(train, undisturbed.config, folder, counted, partial(die_in, method, death))
    assert apart(killed).code == -signal.SIGKILL, "it did not come to that moment"
    if folder.exists():
        require_whole(folder)
        assert lost_steps(folder) <= 1
    found = apart(partial(train, undisturbed.config, folder, counted))
    assert (found.code, found.error) == (0, None)
    assert own_files(folder) == undisturbed.names
    assert contents(folder) == undisturbed.left


@pytest.mark.parametrize("method", METHOD_SETTINGS)
def test_killed_again_and_again_after_random_times(
    method: str, whole: Callable[[str], Whole], counted: Counted, tmp_path: Path
) -> None:
    undisturbed, folder, moments = whole(method), tmp_path / method, random.Random(method)
    attempt = partial(train, undisturbed.config, folder, counted)
    before = time.monotonic()
    assert apart(partial(train, undisturbed.config, tmp_path / "other" / method, counted)).code == 0
    lasts, kills = time.monotonic() - before, 0
    while kills < 3:
        work = Apart(attempt)
        time.sleep(moments.random() * lasts)
        if not work.running:  # the machine has become faster: once more, and sooner
            assert work.done().code == 0
            shutil.rmtree(folder)
            lasts *= 0.7
            continue
        os.kill(work.pid, signal.SIGKILL)
        assert work.done().code in {0, -signal.SIGKILL}
        kills += 1
        if folder.exists():
            require_whole(folder)
    assert apart(attempt).code == 0
    assert own_files(folder) == undisturbed.names
    assert contents(folder) == undisturbed.left


@pytest.mark.parametrize("method", ["vader", "diffusion-dpo", "refl"])
def test_killed_with_checkpoints_as_users_have_them(
    method: str, whole: Callable[[str], Whole], counted: Counted, tmp_path: Path
) -> None:
    undisturbed, folder = whole(method), tmp_path / method
    fault = partial(die_in, method, Death("update", undisturbed.moments["update"] - 1))
    killed = partial(train, undisturbed.config, folder, counted, fault, every_step=False)
    assert apart(killed).code == -signal.SIGKILL
    assert lost_steps(folder) == 1, "the third of four: steps are shorter than the time between checkpoints"
    found = apart(partial(train, undisturbed.config, folder, counted, every_step=False))
    assert (found.code, found.error) == (0, None)
    assert own_files(folder) == undisturbed.names
    assert contents(folder) == undisturbed.left


@pytest.fixture(scope="module")
def invented() -> Invented:
    """Results of all methods."""
    gains = {method: 0.05 * place for place, method in enumerate(METHOD_SETTINGS, start=1)}
    seconds = {method: 10.0 * place for place, method in enumerate(METHOD_SETTINGS, start=1)}
    return Invented(
        rewards=("red",), methods=list(METHOD_SETTINGS), seeds=(0, 1), gains=gains, seconds=seconds
    )


@pytest.fixture(scope="module")
def reported(invented: Invented, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], int]:
    """The files of a report that was written at once, and how many moments that has."""
    folder = write_results(tmp_path_factory.mktemp("whole") / "fig7" / "tiny", invented)
    found = apart(partial(report, folder, None))
    assert (found.code, found.error) == (0, None)
    return below(folder), found.answer["report"]


def below(folder: Path) -> dict[str, bytes]:
    """Return all files below ``folder``."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


@pytest.mark.parametrize("draw", range(REPORTS))
def test_killed_at_a_random_moment_of_the_report(
    draw: int, invented: Invented, reported: tuple[dict[str, bytes], int], tmp_path: Path
) -> None:
    whole, moments = reported
    folder = write_results(tmp_path / "fig7" / "tiny", invented)
    death = Death("report", drawn(f"report {draw}", moments))
    assert apart(partial(report, folder, death)).code == -signal.SIGKILL
    left: dict[str, Any] = below(folder)
    own = {name: data for name, data in left.items() if not name.endswith(files.TEMPORARY_SUFFIX)}
    assert own.items() <= whole.items(), "what has its own name is whole"
    found = apart(partial(report, folder, None))
    assert (found.code, found.error) == (0, None)
    assert below(folder) == whole
