"""From an experiment file to its runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.unit.cli.conftest import write_project
from vader_bench import optimizers
from vader_bench.errors import UserError
from vader_bench.plan.planning import make_plan


@pytest.mark.parametrize(("count", "seeds"), [(None, [1, 2]), (1, [1]), (2, [1, 2]), (5, [1, 2, 3, 4, 5])])
def test_more_seeds_go_on_where_those_of_the_file_end(
    count: int | None, seeds: list[int], tmp_path: Path, tiny_pipeline: Path
) -> None:
    plan = make_plan(write_project(tmp_path, tiny_pipeline), seeds=count)
    assert plan.experiment.seeds == seeds
    assert sorted({run.seed for run in plan.runs}) == seeds
    assert len(plan.runs) == 1 + 2 * len(seeds)


def test_the_runs_of_fewer_seeds_are_among_those_of_more(tmp_path: Path, tiny_pipeline: Path) -> None:
    path = write_project(tmp_path, tiny_pipeline)
    few, many = make_plan(path, seeds=2), make_plan(path, seeds=4)
    assert few.folder(tmp_path) == many.folder(tmp_path)
    assert [run for run in many.runs if run.seed <= 2] == few.runs


def test_an_optimiser_whose_package_is_missing_is_told_before_any_run(
    tmp_path: Path, tiny_pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizers, "find_spec", lambda _: None)
    path = write_project(tmp_path, tiny_pipeline)
    suite = yaml.safe_load((tmp_path / "tiny.yaml").read_text("utf-8"))
    (tmp_path / "tiny.yaml").write_text(
        yaml.safe_dump(suite | {"memory": {"optimizer": "adamw8bit"}}), "utf-8"
    )
    with pytest.raises(UserError, match="needs bitsandbytes"):
        make_plan(path)
    assert make_plan(path, with_weights=False).suite.memory.optimizer == "adamw8bit"
