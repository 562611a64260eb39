"""``vader-bench check`` where the weights of a suite are not on the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import ENVIRONMENT
from vader_bench.cli import main

SLOW_TO_IMPORT = {
    "accelerate", "diffusers", "matplotlib", "mlflow", "pandas", "peft", "ray", "scipy.fft", "scipy.ndimage",
    "scipy.stats", "sklearn",
    "transformers", "trl",
}  # fmt: skip
"""Some ten seconds together, where ``check`` takes three."""
FIG7 = Path(__file__).parents[3] / "experiments" / "fig7.yaml"


def test_weights_to_fetch_are_reported_and_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert main(["check", str(FIG7), "--suite", "modelscope"]) == 0
    said = capsys.readouterr().out
    assert said.count("needed before it runs: weights 'hf:") == 6
    assert "`hf download damo-vilab/text-to-video-ms-1.7b`" in said
    assert "judged by aesthetic: 1 random frames of 16 in training, all of them at looks\n" in said
    assert "judged by action: all of 16 frames in training and at looks\n" in said
    assert "\nok: " in said


def test_fewer_prompts_than_looks_ask_for_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "splits:\n  train: [a red cat growing at night]\n"
        "  heldout: [a blue cat growing at night, a red boat spinning in the park]\n"
    )
    (tmp_path / "own.yaml").write_text("suite: own\nextends: pocket\nprompts: {default: ./mine.yaml}\n")
    experiment = tmp_path / "small.yaml"
    experiment.write_text(
        "experiment: small\nquestion: which\nsuite: ./own.yaml\nrewards: [aesthetic]\n"
        "methods: {vader: {k: 1}}\nseeds: [1]\nbudget: {reward_queries: 16}\n"
        "evaluation: {every: 16, prompts: 2, final_prompts: 4}\n"
    )
    assert main(["check", str(experiment)]) == 0
    said = capsys.readouterr().out
    assert (
        f"looks at heldout of {tmp_path / 'mine.yaml'}: all 2 prompts that it has, where 4 are asked" in said
    )
    assert f"looks at train of {tmp_path / 'mine.yaml'}: all 1 prompts that it has, where 4 are asked" in said


def test_more_devices_than_a_batch_has_videos_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    # DDPO's rounds on actions have two updates of four videos
    assert main(["check", str(FIG7), "--devices", "4"]) == 0
    for verb in ("check", "plan"):
        assert main([verb, str(FIG7), "--devices", "5"]) == 2
        told = capsys.readouterr().err
        assert "--devices 5: leaves devices without work: batches, rounds or updates of ddpo " in told
        assert " have 4 videos; give --devices 4 at most, or the arm larger batches" in told


def test_a_run_is_refused_before_it_writes_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(FIG7), "--suite", "modelscope"]) == 3
    assert capsys.readouterr().err.startswith("error: weights 'hf:MCG-NJU/videomae-base")
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_on_packaged_weights_is_checked_without_libraries_of_networks() -> None:
    code = (
        "import sys; from vader_bench.cli import main; assert main(['check', sys.argv[1]]) == 0\n"
        "print(*sorted(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(FIG7)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = done.stdout.splitlines()[-1].split()
    assert SLOW_TO_IMPORT.isdisjoint(imported)
    families = {name for name in imported if name.startswith("vader_bench.backbones.")}
    assert "vader_bench.backbones.wan" not in families
    assert {"vader_bench.rewards.vjepa", "vader_bench.rewards.yolos"}.isdisjoint(imported)
