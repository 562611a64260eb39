"""What a line of metrics tells MLflow."""

from __future__ import annotations

import pytest

from tests.support.folders import evaluation_line, step_line
from tests.support.results import Invented, make_record
from vader_bench.records.tracking.points import Point, _hours, points


def test_a_held_out_look_is_the_reward_by_queries_and_by_device_seconds() -> None:
    found = list(points(evaluation_line(4, 2.75), untrained=0.5))
    assert set(found) >= {
        Point("reward", 2.0, 4),
        Point("gain", 1.5, 4),
        Point("gold", 0.5, 4),
        Point("curve/queries", 2.0, 4),
        Point("curve/seconds", 2.0, 2),
        Point("ledger/queries", 4, 4),
        Point("ledger/device_seconds", 2.75, 4),
        Point("evaluation/heldout/reward", 1.0, 4),
    }


def test_nothing_is_called_after_a_gpu_where_there_may_be_none() -> None:
    keys = {point.key for point in (*points(evaluation_line(4, 2.75)), *points(step_line(4, 2.5)))}
    assert not [key for key in keys if "gpu" in key]


def test_a_look_at_another_split_is_not_the_reward() -> None:
    keys = {point.key for point in points(evaluation_line(4, 2.75, "noun"))}
    assert keys == {f"evaluation/noun/{what}" for what in ("reward", "gold", "prompt_share")}


def test_the_gold_of_an_older_run_may_be_the_share_of_the_prompt() -> None:
    line = evaluation_line(4, 2.75)
    del line["prompt_share_mean"]
    found = list(points(line, "prompt_share"))
    assert Point("evaluation/heldout/prompt_share", 0.5, 4) in found
    assert "gold" not in {point.key for point in found}


def test_what_else_is_measured_has_a_place_of_its_own() -> None:
    look = evaluation_line(4, 2.75) | {"measured": {"heldout/path_kl": 1.5}}
    assert set(points(look)) - set(points(evaluation_line(4, 2.75))) == {
        Point("measured/heldout/path_kl", 1.5, 4)
    }
    line = {"kind": "measurement", "queries": 8, "measured": {"scale_0.5/reward": 2.0, "peak_bytes": 9}}
    assert list(points(line)) == [
        Point("measured/scale_0.5/reward", 2.0, 8),
        Point("measured/peak_bytes", 9, 8),
    ]


def test_a_step_tells_its_metrics_and_the_whole_ledger() -> None:
    keys = {point.key for point in points(step_line(4, 2.5))}
    counted = (
        "gradient_queries",
        "frames_scored",
        "denoiser_forwards",
        "denoiser_backwards",
        "vae_decodes",
        "flops",
    )
    ledger = {f"ledger/{name}" for name in ("queries", "device_seconds", *counted)}
    assert keys == {"train/reward", "train/loss"} | ledger


@pytest.mark.parametrize(
    ("device", "names"), [("cpu", ["device_hours"]), ("cuda:1", ["device_hours", "gpu_hours"])]
)
def test_hours_are_those_of_a_gpu_where_the_run_was_trained_on_one(device: str, names: list[str]) -> None:
    """Whatever cards the machine has beside."""
    record = make_record(Invented(device=device), "vader", "red", 0)
    record = record.model_copy(update={"machine": record.machine | {"gpus": ["a card"]}})
    assert [point.key for point in _hours(record)] == names
