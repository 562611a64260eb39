from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.networks import made_once
from vader_bench.cli import main
from vader_bench.cost import whatif


@pytest.fixture(autouse=True)
def _there(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(experiment.parent)
    monkeypatch.setattr(whatif, "Skeletons", made_once)


def test_every_arm_is_reported_with_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "small.yaml"]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0] == "small on tiny, rtx-4080 (16.0 GiB)"
    assert lines[1] == "4 frames of 8 x 8, 2 steps, guidance 1, frozen weights float32, no switch on"
    assert lines[2].split() == [
        "method", "reward", "batch", "k", "decoded", "queries", "TFLOP", "hours", "GiB", "weights", "kept",
        "look", "rtx-4080",
    ]  # fmt: skip
    assert lines[3].split()[:6] == ["vader", "red", "2", "1", "4", "8"]
    assert lines[4].split()[:5] == ["diffusion-dpo", "red", "2", "4", "8"]
    assert "a row is one run; 2 seeds of all of them" in said
    assert "an assumed 35% of the card's 48.7 TFLOP/s" in said
    assert said.endswith("fits rtx-4080: every arm\n")
    assert not Path("results").exists()


@pytest.mark.slow
def test_what_would_make_it_fit_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vader_bench.cost.estimate.RESERVE", 16 * 2**30)
    assert (
        main(["plan", "small.yaml", "--batch", "2", "--k", "2", "--precision", "fp16", "--checkpointing"])
        == 0
    )
    said = capsys.readouterr().out
    assert "does not fit rtx-4080; GiB with each further switch added:" in said
    assert "  vader on red: one video at a look 0.0, smallest batch 0.0" in said
    assert said.endswith(": does not fit\n")


def test_there_is_always_a_verdict_for_a_card_of_16_gb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "small.yaml", "--gpu", "a6000", "--precision", "bf16"]) == 0
    said = capsys.readouterr().out
    assert "frozen weights bfloat16" in said
    assert "the card's 154.8 TFLOP/s" in said
    assert said.endswith("fits a6000: every arm\nfits 16 GB: every arm\n")


def test_the_smaller_form_spends_less(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "small.yaml", "--quick"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("small-quick on tiny")
    assert said.splitlines()[3].split()[:6] == ["vader", "red", "2", "1", "4", "4"]
    assert "a row is one run; 1 seed of all of them" in said


def test_a_suite_without_the_rewards_of_the_experiment_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "small.yaml", "--suite", "svd"]) == 2
    told = capsys.readouterr().err
    assert "rewards: names 'red', which is no reward of suite svd; choose one of: aesthetic," in told


@pytest.mark.parametrize(
    ("option", "told"), [(["--gpu", "abacus"], "gpu 'abacus'"), (["--precision", "fp8"], "precision 'fp8'")]
)
def test_unknown_cards_and_precisions_are_refused(
    option: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "small.yaml", *option]) == 2
    assert capsys.readouterr().err.startswith(f"error: {told}: is not ")


def test_a_plugin_is_counted_as_nothing_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text("def f(video, prompts):\n    return video.mean((1, 2, 3, 4))\n", "utf-8")
    suite = yaml.safe_load(Path("tiny.yaml").read_text("utf-8"))
    suite["rewards"]["mine"] = {"family": "plugin", "settings": {"file": "mine.py", "function": "f"}}
    Path("tiny.yaml").write_text(yaml.safe_dump(suite), "utf-8")
    experiment = yaml.safe_load(Path("small.yaml").read_text("utf-8"))
    Path("small.yaml").write_text(yaml.safe_dump(experiment | {"rewards": ["red", "mine"]}), "utf-8")
    assert main(["plan", "small.yaml"]) == 0
    said = capsys.readouterr().out
    assert "not counted, because only a run can measure it: what mine costs\n" in said
    assert sum(line.split()[1:2] == ["mine"] for line in said.splitlines()) == 2
