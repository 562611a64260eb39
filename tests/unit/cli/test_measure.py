from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml

from vader_bench.cli import main
from vader_bench.cost.measured import kept


@pytest.fixture(autouse=True)
def _there(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure one arm of the small experiment."""
    monkeypatch.chdir(experiment.parent)
    data = yaml.safe_load(experiment.read_text("utf-8"))
    del data["methods"]["diffusion-dpo"]
    experiment.write_text(yaml.safe_dump(data), "utf-8")


def test_an_arm_is_reported_beside_its_estimate_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "small.yaml", "--device", "cpu", "--save"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "small on tiny, cpu"
    assert lines[1] == "vader on red: 4 frames of 8 x 8, batch 2, fp32, no switch on, its weights"
    spent = r"\d+\.\d\d GiB \(estimated \d+\.\d\d\), \S+ TFLOP( \(estimated \S+\))?, \S+ s a {}, \S+ TFLOP/s"
    assert re.fullmatch("  update  " + spent.format("query"), lines[2])
    assert re.fullmatch("  look    " + spent.format("video"), lines[3])
    assert lines[4] == "kept in results/measured/cpu.json"
    (arm,) = kept(Path("results/measured/cpu.json"))
    assert (arm.suite, arm.arm, arm.random_weights) == ("tiny", "vader", False)
    assert torch.get_num_threads() == 1


def test_random_weights_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "small.yaml", "--device", "cpu", "--random-weights"]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith(", random weights")
    assert not Path("results").exists()
