"""``vader-bench check`` where the weights of a suite are not on the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from vader_bench.cli import main

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


def test_a_run_is_refused_before_it_writes_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(FIG7), "--suite", "modelscope"]) == 3
    assert capsys.readouterr().err.startswith("error: weights 'hf:MCG-NJU/videomae-base")
    assert list(tmp_path.iterdir()) == []
