"""Turkle's environment is made once, and a failure says what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from vader_bench.errors import ExitCode, UserError
from vader_bench.human.serving import environment
from vader_bench.human.serving.environment import REQUIREMENTS, default_environment, made_environment


class Commands:
    """Stands in for venv and pip."""

    def __init__(self, fails: str = "") -> None:
        self.steps: list[str] = []
        self.fails = fails

    def __call__(self, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        step = command[2]
        self.steps.append(step)
        assert "PYTHONPATH" not in options["env"]
        if step == self.fails:
            return subprocess.CompletedProcess(
                command, 1, "", "WARNING: a\nERROR: No matching thing\nhint: b\n"
            )
        if step == "venv":
            folder = Path(command[-1])
            (folder / "bin").mkdir(parents=True, exist_ok=True)
            (folder / "bin" / "python").touch()
            (folder / "pyvenv.cfg").touch()
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands()
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setattr(subprocess, "run", made)
    return made


def test_it_is_made_once(commands: Commands, tmp_path: Path) -> None:
    said: list[str] = []
    python = made_environment(tmp_path / "env", said.append)
    assert python == tmp_path / "env" / "bin" / "python"
    assert commands.steps == ["venv", "pip"]
    assert len(said) == 1
    assert made_environment(tmp_path / "env", said.append) == python
    assert (len(commands.steps), len(said)) == (2, 1)


def test_it_is_made_again_when_other_packages_are_wanted(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_environment(tmp_path / "env", lambda _: None)
    newer = tmp_path / "requirements.txt"
    newer.write_text("turkle==4.0.0\n", "utf-8")
    monkeypatch.setattr(environment, "REQUIREMENTS", newer)
    made_environment(tmp_path / "env", lambda _: None)
    assert commands.steps == ["venv", "pip", "venv", "pip"]


@pytest.mark.parametrize("step", ["venv", "pip"])
def test_a_failure_is_reported_and_the_next_try_starts_again(
    commands: Commands, tmp_path: Path, step: str
) -> None:
    commands.fails = step
    with pytest.raises(UserError, match=rf"{step}: ERROR: No matching thing\)") as caught:
        made_environment(tmp_path / "env", lambda _: None)
    assert caught.value.exit_code == ExitCode.MISSING
    commands.fails, commands.steps = "", []
    made_environment(tmp_path / "env", lambda _: None)
    assert commands.steps == ["venv", "pip"]


def test_a_folder_with_something_else_is_left_alone(commands: Commands, tmp_path: Path) -> None:
    own = tmp_path / "own"  # an environment too, but not ours
    own.mkdir()
    (own / "pyvenv.cfg").write_text("home = /usr/bin", "utf-8")
    with pytest.raises(UserError, match="holds something else"):
        made_environment(own, lambda _: None)
    assert commands.steps == []
    assert (own / "pyvenv.cfg").exists()
    (tmp_path / ".env.lock").mkdir()
    with pytest.raises(UserError, match=r"cannot be written \(Is a directory\)"):
        made_environment(tmp_path / "env", lambda _: None)


def test_it_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_environment() == tmp_path / "vader-bench" / "turkle-3.1.0"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_environment() == Path.home() / ".cache" / "vader-bench" / "turkle-3.1.0"


def test_every_package_in_it_is_pinned() -> None:
    lines = [line for line in REQUIREMENTS.read_text("utf-8").splitlines() if not line.startswith("#")]
    pins = {one.name: [part.operator for part in one.specifier] for one in map(Requirement, lines)}
    assert all(operators == ["=="] for operators in pins.values())
    assert f"turkle=={default_environment().name.removeprefix('turkle-')}" in lines


def test_a_site_that_fails_names_its_log(tmp_path: Path) -> None:
    from vader_bench.human.serving.child import Site

    site = Site(Path(sys.executable), tmp_path)  # this Python has no Django
    with pytest.raises(UserError, match=r"Turkle: `export` failed \(ModuleNotFoundError: .*log.txt"):
        site.ask("export")
    with pytest.raises(UserError, match=r"the server does not start \(ModuleNotFoundError"):
        site.start(0)
