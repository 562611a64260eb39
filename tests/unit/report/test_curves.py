from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from tests.support.results import Invented, write_results
from vader_bench.report.curves import COLUMNS, curves_frame, frame_csv
from vader_bench.report.load import Results, load_results
from vader_bench.stats import run_curve


def test_one_row_a_point_in_fixed_order(results: Results) -> None:
    frame = curves_frame(results)
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == 2 * 3 * 3 * 5
    order = frame[["reward", "method", "seed", "queries"]].drop_duplicates()
    assert len(order) == len(frame)
    assert frame["reward"].unique().tolist() == ["red", "blue"]
    assert frame["method"].unique().tolist() == ["vader", "ddpo", "diffusion-dpo"]
    assert frame["queries"].head(6).tolist() == [0, 16, 32, 48, 64, 0]


def test_points_are_those_of_the_records(results: Results) -> None:
    rows = curves_frame(results).to_dict("records")
    look, mean = run_curve(results.records["ddpo-blue-seed1"])[2]
    (row,) = (r for r in rows if [r[c] for c in COLUMNS[1:5]] == ["blue", "ddpo", 1, 32])
    assert row["reward_mean"] == pytest.approx(mean)
    assert (row["flops"], row["device_seconds"]) == (look.flops, look.device_seconds)


def test_equal_runs_give_equal_bytes_but_for_device_time(tmp_path: Path) -> None:
    world = Invented(rewards=("red",), seeds=(0,))
    texts = [
        frame_csv(curves_frame(load_results(write_results(tmp_path / name, each))))
        for name, each in (("a", world), ("b", replace(world, clock=1.37)))
    ]
    assert texts[0] != texts[1]
    first, second = (
        pd.read_csv(StringIO(text), dtype=str).drop(columns="device_seconds").to_csv() for text in texts
    )
    assert first == second


def test_floats_are_written_with_nine_digits_and_whole_numbers_whole() -> None:
    frame = pd.DataFrame({"a": [1 / 3, 2.0], "b": [10**13, 7], "c": ["x,y", "z"]})
    assert frame_csv(frame) == 'a,b,c\n0.333333333,10000000000000,"x,y"\n2,7,z\n'
