"""The command line as a whole: its options, and what becomes of wrong input."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tests.unit.cli.conftest import ENVIRONMENT, ROOT, call_in_an_interpreter, experiment_data, write_yaml
from vader_bench import __version__
from vader_bench.cli import app, main
from vader_bench.config.yamlfile import read_mapping
from vader_bench.errors import ExitCode
from vader_bench.records.locks import LOCK_NAME

OPTIONS = {
    "list": set(),
    "new": {"kind", "name", "--out"},
    "doctor": {"--suite", "--out", "--tracking"},
    "check": {"experiment", "--suite", "--quick", "--devices"},
    "plan": {
        *("experiment", "--suite", "--quick", "--gpu", "--precision", "--checkpointing"),
        *("--frames", "--height", "--width", "--k", "--batch", "--devices", "--out"),
    },
    "measure": {"experiment", "--suite", "--quick", "--random-weights", "--device", "--save", "--out"},
    "tune": {"tuning", "--suite", "--out", "--workers", "--tracking", "--executor", "--storage"},
    "run": {
        *("experiment", "--suite", "--quick", "--seeds", "--out", "--workers", "--devices", "--tracking"),
        *("--executor", "--storage", "--only", "--fresh"),
    },
    "reproduce": {"experiments", "--quick", "--seeds", "--out", "--workers", "--tracking", "--only-plan"},
    "report": {"results", "--allow-missing", "--width"},
    "index": {"folder"},
    "compare": {"own", "reference"},
    "keep": {"results", "out", "--adapters", "--sheet", "--videos"},
    "sample": {"run", "--prompts", "--samples", "--scale", "--out", "--device"},
    "score": {"folder", "--reward", "--suite", "--prompts", "--out", "--device"},
    "export": {"run", "--to", "--out"},
    "sync": {"results", "--tracking", "--new-store"},
    "study power": {
        *("--share", "--responses", "--prompts", "--raters", "--questions", "--alpha", "--power"),
        *("--prompt-sd", "--rater-sd"),
    },
    "study init": {"first", "second", "prompts", "--out"},
    "study build": {"study", "--out", "--paper"},
    "study simulate": {
        *("folder", "--out", "--raters", "--prefer", "--share", "--careless", "--side-bias", "--lapse"),
        *("--ties", "--broken", "--seed"),
    },
    "study rehearse": {
        *("folder", "--raters", "--prefer", "--share", "--careless", "--side-bias", "--lapse", "--ties"),
        *("--broken", "--seed", "--environment"),
    },
    "study serve": {
        *("folder", "--port", "--raters", "--simulated", "--prolific", "--participants", "--host"),
        *("--again", "--environment"),
    },
    "study export": {"folder", "--environment"},
    "study ingest": {"folder", "results"},
    "study analyze": {"folder", "--plan-sha256"},
}


def verbs(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the verbs of ``group`` by name, those of groups in it after the group's name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, f"{before}{name} ")
        else:
            yield before + name, command


def test_the_options_are_these_and_no_run_takes_a_hyper_parameter_from_them() -> None:
    found = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in verbs(typer.main.get_command(app))
    }
    assert found == OPTIONS
    assert list(found) == list(OPTIONS), "verbs are listed in order of use"


def test_every_verb_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in OPTIONS:
        assert main([*verb.split(), "--help"]) == 0
        assert f"vader-bench {verb}" in capsys.readouterr().out


def test_the_version_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vader-bench {__version__}\n"


@pytest.mark.parametrize("arguments", [["rnu"], ["run"], ["run", "x.yaml", "--learning-rate", "1"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "Error" in capsys.readouterr().err


def wrong(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Return the error that a command ends with, after checking that it is told as it should be."""
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    told = "".join(line for line in said.err.splitlines(True) if not line.startswith("warning: "))
    assert told.startswith("error: ")
    assert "Traceback" not in told
    return told


@pytest.mark.parametrize("verb", ["check", "run"])
def test_all_faults_of_a_file_are_reported_at_once(
    verb: str, experiment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(experiment.parent)
    data = experiment_data() | {"sead": [1], "rewards": ["red", "blue"], "budget": {"reward_queries": "many"}}
    data["methods"] = {"wader": {}, "vader": {"kay": 1}}
    told = wrong(capsys, verb, write_yaml(experiment, data))
    assert len(told.splitlines()) == 5
    for part in ("sead", "'blue'", "reward_queries", "wader", "kay"):
        assert part in told
    assert not (experiment.parent / "results").exists()


def test_missing_weights_are_reported_before_anything_runs(
    experiment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(experiment.parent)
    suite, _ = read_mapping(experiment.parent / "tiny.yaml")
    suite["backbone"]["settings"]["weights"] = "./nowhere"
    write_yaml(experiment.parent / "tiny.yaml", suite)
    told = wrong(capsys, "run", experiment)
    assert told.startswith("error: weights './nowhere': are neither a folder nor a file here; ")
    assert len(told.splitlines()) == 1
    assert not (experiment.parent / "results").exists()


def test_a_full_disk_leaves_nothing_half_written(
    experiment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(experiment.parent)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    told = wrong(capsys, "run", experiment)
    assert "cannot be written (No space left on device); free some disk space" in told
    left = {path.name for path in (experiment.parent / "results").rglob("*") if path.is_file()}
    assert left <= {LOCK_NAME}, "which is empty"


def test_a_wrong_tracking_address_is_reported_before_anything_runs(
    experiment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(experiment.parent)
    told = wrong(capsys, "run", experiment, "--tracking", "mlflow.example:5000")
    assert told.startswith("error: tracking address 'mlflow.example:5000': is not one; give http://")
    assert not list(experiment.parent.rglob("metrics.jsonl"))


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda:99", "--device cuda:99: is not on this machine; give c"),
        ("cuda", "--device cuda: is no device; give cpu, or cuda:0 for the first GPU"),
        ("foo", "--device foo: is no device; give cpu"),
    ],
)
def test_a_device_that_is_not_here_is_reported(
    device: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["sample", "pocket"], ["score", ".", "--reward", "hps"], ["measure", "fig7"]):
        assert wrong(capsys, *command, "--device", device).startswith(f"error: {message}")


def test_what_is_no_run_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path / "nowhere"), "--to", "peft"]) == ExitCode.MISSING
    assert "nowhere: is no folder; give the folder of a run" in capsys.readouterr().err
    told = wrong(capsys, "export", tmp_path, "--to", "peft")
    assert "record.json: does not exist; give a run's own folder" in told


def test_an_interrupt_is_exit_code_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vader_bench.experiment.load.suite_names", interrupted)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "interrupted; give the same command again to go on\n"


@pytest.mark.slow
def test_a_process_ends_with_the_code_and_the_line(tmp_path: Path) -> None:
    done = call_in_an_interpreter("check", "nowhere.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: nowhere.yaml: does not exist; check the path\n"


def test_a_system_without_locks_is_reported_in_one_line(tmp_path: Path) -> None:
    """As Windows, where Python has no module ``fcntl``."""
    code = (
        "import sys; sys.modules['fcntl'] = None; from vader_bench.cli import main; "
        "sys.exit(main(['run', 'experiments/sanity.yaml']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith("; use Linux, macOS, or WSL on Windows")
