"""The command line in processes of their own that need not import PyTorch again.

They start as workers do: on Linux from one process that has imported what commands and workers need. The
workers of a command come from it too. A new interpreter for each of them takes some ten seconds of a core.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path
from tempfile import TemporaryDirectory

from vader_bench.launch.environment import take_surroundings
from vader_bench.launch.start import start_context

__all__ = ["FEW_DOTS", "FEW_RESAMPLES", "PRELOADED", "Command"]

FEW_RESAMPLES = 4000
"""A tenth of the usual number, for reports of which no test looks at the last digit."""
FEW_DOTS = 40
"""Dots an inch of figures that no test looks at; the usual ones take a third of a report's time."""

PRELOADED = (
    "matplotlib.figure",
    "mlflow.store.tracking.sqlalchemy_store",
    "trl.trainer.dpo_trainer",
    "vader_bench.cli._report",
    "vader_bench.cli._work",
    "vader_bench.interface.comparison",
    "vader_bench.interface.models",
    "vader_bench.interface.videos",
    "vader_bench.methods.diffusion_dpo",
    "vader_bench.methods.vader",
    "vader_bench.report.index",
)
"""What commands import beside what workers do, and workers of the tests' experiments."""


class Command:
    """A call of the command line that is at work; see ``subprocess.Popen``.

    Args:
        arguments: the verb and what follows.
        cwd: the folder in which it is called.
        environment: its environment.
        together: whether what goes to standard error is to be among the standard output.
    """

    def __init__(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], *, together: bool = False
    ) -> None:
        self.args = list(arguments)
        self._folder = TemporaryDirectory()
        said = [Path(self._folder.name) / name for name in ("stdout", "stdout" if together else "stderr")]
        for path in said:
            path.touch()
        self._said = said
        given = (self.args, str(cwd), dict(environment), [str(path) for path in said])
        self._process = start_context(["cpu"]).Process(target=_call, args=given)
        before = dict(os.environ)
        take_surroundings(environment)  # libraries read it when they are imported
        try:
            self._process.start()
        finally:
            take_surroundings(before)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def done(self, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Wait for the end and return exit code and output."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            self._process.join()
        out, err = (path.read_text("utf-8") for path in self._said)
        self._folder.cleanup()
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout, out, err)
        return subprocess.CompletedProcess(self.args, code, out, err)


def _call(arguments: list[str], cwd: str, environment: dict[str, str], said: list[str]) -> None:
    """Do in a new process what ``python -m vader_bench`` does, with reports as quick as in other tests."""
    take_surroundings(environment)
    os.chdir(cwd)
    for number, path in enumerate(said, 1):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(handle, number)
        os.close(handle)
    warnings.simplefilter("ignore")  # PYTHONWARNINGS holds where an interpreter starts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    server = forkserver._forkserver
    # its workers come from where it comes from itself
    if server._inherited_fds is not None:  # type: ignore[attr-defined]
        forkserver.ensure_running = server.ensure_running = lambda: None  # type: ignore[method-assign]
    from vader_bench.cli import main
    from vader_bench.report import style
    from vader_bench.stats import bootstrap

    bootstrap.RESAMPLES, style.DPI = FEW_RESAMPLES, FEW_DOTS
    sys.argv = ["vader-bench", *arguments]
    sys.exit(main(arguments))
