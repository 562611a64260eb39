"""The environment that Turkle runs in: made once, and shared by all studies on this machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from vader_bench import files
from vader_bench.errors import ExitCode, UserError

__all__ = ["REQUIREMENTS", "default_environment", "made_environment"]

REQUIREMENTS: Final = Path(__file__).parent / "requirements.txt"
_MARKER: Final = "vader-bench.json"
"""Says that a folder was made here, and of what once it is whole."""


def default_environment() -> Path:
    """Return the folder in the user's cache where the environment is kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "vader-bench" / "turkle-3.1.0"


def made_environment(folder: Path, say: Callable[[str], None]) -> Path:
    """Return the Python of the environment in ``folder``, which is made if it is not there as it should be.

    Args:
        folder: where it is or is made; nothing else may be there.
        say: takes what is being done, one line each.

    Raises:
        UserError: something else lies there, or an environment cannot be made: no network, no space.
    """
    folder = folder.absolute()
    python = folder / "bin" / "python"
    wanted = {"requirements": files.sha256_file(REQUIREMENTS), "python": sys.version}
    with _alone(folder):
        if python.exists() and _made_of(folder) == wanted:
            return python
        say(f"making Turkle's environment in {folder} (once, about 100 MB)")
        _clear(folder)
        with ExitStack() as failing:
            failing.callback(shutil.rmtree, folder, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(folder)], folder)
            failing.pop_all()
        files.write_json(folder / _MARKER, {})
        pip = [str(python), "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check"]
        _run([*pip, "install", "--requirement", str(REQUIREMENTS)], folder)
        files.write_json(folder / _MARKER, wanted)
    return python


def _clear(folder: Path) -> None:
    """Delete an environment that was made here; refuse to delete anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / _MARKER).exists():
        remedy = "give --environment a folder that is empty or not there"
        raise UserError(str(folder), "holds something else than Turkle's environment", remedy)
    shutil.rmtree(folder)


def _made_of(folder: Path) -> object:
    marker = folder / _MARKER
    return files.read_json(marker) if marker.exists() else None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let a second process wait until the first has made the environment."""
    files.make_folder(folder.parent)
    lock = folder.with_name(f".{folder.name}.lock")
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        wrong = f"cannot be written ({error.strerror})"
        raise UserError(str(lock), wrong, "give --environment a folder of your own") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(  # noqa: S603 -- this Python, and pip with the requirements of this package
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=_own_settings()
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it gave no reason"]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        step = "pip" if "pip" in command else "venv"
        raise UserError(
            f"Turkle's environment in {folder}",
            f"cannot be made ({step}: {errors[-1]})",
            "see that the package index can be reached and the disk has 100 MB, and give the same command "
            "again; --environment takes an environment from elsewhere",
            exit_code=ExitCode.MISSING,
        )


def _own_settings() -> dict[str, str]:
    """Return the variables of this process without those that would lead Python to other packages."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
