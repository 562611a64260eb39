from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.support.networks import made_once
from vader_bench.cli import main
from vader_bench.cost import whatif
from vader_bench.weights import sizes
from vader_bench.weights.sizes import read_table


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
        "method", "reward", "batch", "k", "decoded", "queries", "updates", "TFLOP", "hours", "looks", "GiB",
        "weights", "kept", "look", "rtx-4080",
    ]  # fmt: skip
    assert lines[3].split()[:7] == ["vader", "red", "2", "1", "4", "8", "4"]
    assert lines[4].split()[:6] == ["diffusion-dpo", "red", "2", "4", "8", "4"]
    assert "a row is one run; 2 seeds of all of them" in said
    assert "few updates" not in said, "videos of 8 x 8 pixels are those of a small model"
    assert "\nresults: about " in said
    assert "to fetch" not in said
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
    assert ": does not fit\na suite file with them, for `--suite`" in said
    pasted = yaml.safe_load(said.partition("stands before it):\n")[2])
    pasted.pop("memory", None)
    assert pasted == {
        "suite": "tiny-rtx-4080",
        "extends": "tiny.yaml",
        "evaluation_batch": 1,
        "methods": {"vader": {"batch_size": 1, "accumulation": 2}},
        "decode_frames": 1,
    }


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
    suite["gold"] = {"family": "plugin", "settings": suite["rewards"]["mine"]["settings"]}
    Path("tiny.yaml").write_text(yaml.safe_dump(suite), "utf-8")
    evaluation = experiment["evaluation"] | {"measure": {"judges": ["mine"]}}
    Path("small.yaml").write_text(yaml.safe_dump(experiment | {"evaluation": evaluation}), "utf-8")
    assert main(["plan", "small.yaml"]) == 0
    assert "what mine and the gold of red costs\n" in capsys.readouterr().out


def test_hours_are_the_sum_of_training_looks_and_the_base_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "small.yaml"]) == 0
    said = capsys.readouterr().out
    hours = re.search(
        r"of all of them: (\S+) hours: (\S+) of training, (\S+) of looks, (\S+) of looks at", said
    )
    assert hours
    total, training, looks, base = map(float, hours.groups())
    assert total == pytest.approx(training + looks + base, rel=0.01)
    assert min(training, looks, base) > 0
    row = said.splitlines()[3].split()
    assert float(row[9]) / float(row[8]) > 0.1, "looks at 15 videos take their part of the time of 8 queries"


def test_a_measurement_of_the_card_stands_in_for_the_assumption(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["plan", "small.yaml", "--gpu", "t4"]) == 0
    assumed = capsys.readouterr().out
    spent = {"videos": 1, "seconds": 1.0, "estimated_flops": 1, "bytes": 1, "estimated_bytes": 1}
    arm = {
        "suite": "tiny", "arm": "vader", "reward": "red", "precision": "fp32", "memory": "no switch",
        "video": [4, 8, 8], "batch": 2, "random_weights": False,
        "training": spent | {"flops": int(0.07 * 8.1e12)},  # a fifth of the assumed share
        "look": spent | {"flops": int(0.7 * 8.1e12)},
    }  # fmt: skip
    path = tmp_path / "results" / "measured" / "t4.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"version": 1, "device": "Tesla T4", "arms": [arm]}), "utf-8")
    assert main(["plan", "small.yaml", "--gpu", "t4"]) == 0
    said = capsys.readouterr().out
    shares = "hours: at a measured 7% in updates and 70% at looks of the card's 8.1 TFLOP/s"
    assert f"{shares} (results/measured/t4.json)\n" in said
    training, looks = (
        [float(text.splitlines()[3].split()[column]) for text in (assumed, said)] for column in (8, 9)
    )
    assert training[1] / training[0] == pytest.approx(5, rel=0.02)
    assert looks[1] / looks[0] == pytest.approx(0.5, rel=0.02)


def test_what_to_fetch_and_too_few_updates_are_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_clip: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    known = {"openai/clip-vit-large-patch14": {"model": read_table(tiny_clip / "config.json")}}
    monkeypatch.setattr(sizes, "_table", lambda: known)
    monkeypatch.setattr("vader_bench.cli.plan._LARGE", 0)
    settings = {"clip": "hf:openai/clip-vit-large-patch14", "head": "hf:owner/head:head.pth"}
    suite = yaml.safe_load(Path("tiny.yaml").read_text("utf-8"))
    suite["rewards"]["red"] = {"family": "aesthetic", "settings": settings}
    Path("tiny.yaml").write_text(yaml.safe_dump(suite), "utf-8")
    assert main(["plan", "small.yaml"]) == 0
    said = capsys.readouterr().out
    assert "few updates: vader on red 4, diffusion-dpo on red 4; " in said
    found = re.search(r"weights: (\S+) to (\S+) GB \(2 or 4 bytes a parameter\); 2 to fetch:\n", said)
    assert found
    assert float(found[2]) == pytest.approx(2 * float(found[1]), rel=0.01)
    clip = "hf download openai/clip-vit-large-patch14 --include '*.json' '*.txt' 'model.safetensors'"
    assert f"  {clip}\n  hf download owner/head head.pth\n" in said
