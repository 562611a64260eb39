"""What ``run`` and ``tune`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.configs import run_config
from vader_bench.cli import _work
from vader_bench.experiment.job import Job
from vader_bench.files import write_text
from vader_bench.records.folder import RunFolder


@pytest.mark.parametrize(("finished", "launched"), [([], [[1, 2]]), ([1], [[2]]), ([1, 2], [])])
def test_workers_get_the_runs_that_are_not_finished(
    finished: list[int],
    launched: list[list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = []

    def launch(jobs: list[Job], *_: Any) -> list[Any]:
        given.append([job.config.seed for job in jobs])
        return []

    monkeypatch.setattr(_work, "launch", launch)
    jobs = [Job(run_config(seed=seed), tmp_path / "runs" / str(seed)) for seed in (1, 2)]
    for seed in finished:
        write_text(RunFolder(tmp_path / "runs" / str(seed)).record_path, "{}")
    _work.work(jobs, tmp_path, 1, "http://127.0.0.1:9")
    assert given == launched
    told = f"{len(finished)} of 2 runs are finished already"
    assert (told in capsys.readouterr().err) == bool(finished)
