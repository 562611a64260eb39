from __future__ import annotations

from pathlib import Path

import pytest

from vader_bench.cli import main


@pytest.fixture(autouse=True)
def _there(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(experiment.parent)


def test_every_arm_is_told_with_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "small.yaml"]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0] == "small on tiny, rtx-4080 (16 GiB), fp32"
    assert [line.split()[:3] for line in lines[2:4]] == [["vader", "red", "8"], ["diffusion-dpo", "red", "8"]]
    assert "one run each; 2 seeds of all of them" in said
    assert "an assumed 35% of the card's 48.7 TFLOP/s" in said
    assert said.endswith("fits rtx-4080: every arm\n")
    assert not Path("results").exists()


def test_what_would_make_it_fit_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vader_bench.plan.estimate.RESERVE", 16 * 2**30)
    assert main(["plan", "small.yaml", "--batch", "2", "--k", "2"]) == 0
    said = capsys.readouterr().out
    assert "does not fit rtx-4080; what would help vader on red:" in said
    assert "  checkpointing  " in said


@pytest.mark.parametrize(
    ("option", "told"), [(["--gpu", "abacus"], "gpu 'abacus'"), (["--precision", "fp8"], "precision 'fp8'")]
)
def test_unknown_cards_and_precisions_are_refused(
    option: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "small.yaml", *option]) == 2
    assert capsys.readouterr().err.startswith(f"error: {told}: is not ")
