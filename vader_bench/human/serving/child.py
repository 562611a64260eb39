"""The site's own process: questions to it, and the server."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vader_bench import files
from vader_bench.errors import ExitCode, UserError

__all__ = ["Server", "Site"]

START_SECONDS: Final = 120.0
"""A server that has not said its port by then will not."""
STOP_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Site:
    """The site of one study, in Turkle's environment."""

    python: Path
    """Python of the environment."""
    folder: Path
    """Where ``site.json`` and the log of the study's server lie."""

    def ask(self, command: str, asked: Mapping[str, Any] | None = None) -> bytes:
        """Return what the site answers to a command.

        Raises:
            UserError: it fails; the log has the details.
        """
        with self._log() as log:
            done = subprocess.run(  # noqa: S603 -- the site of this package
                self._words(command),
                input=json.dumps(asked).encode(),
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._variables(),
                check=False,
            )
        if done.returncode:
            raise self._failed(f"`{command}` failed")
        return done.stdout

    def start(self, port: int) -> Server:
        """Return a server that listens on ``port`` of loopback, 0 for any free one.

        Raises:
            UserError: the port is taken, or the server does not start.
        """
        with self._log() as log:
            process = subprocess.Popen(  # noqa: S603 -- the site of this package
                self._words("serve", str(port)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._variables(),
                start_new_session=True,  # Ctrl-C is for vader-bench, which then stops the server
            )
        server = Server(process)
        with ExitStack() as refused:
            refused.callback(server.stop)
            said = server.first_line()
            if "port" in said:
                server.port = said["port"]
                refused.pop_all()
                return server
        if "error" in said:
            wrong = f"cannot be listened on ({said['error']})"
            raise UserError(f"port {port}", wrong, "give another --port, or 0 for any that is free")
        raise self._failed("the server does not start")

    def _words(self, *arguments: str) -> list[str]:
        return [str(self.python), "-m", "study_site.commands", *arguments]

    def _variables(self) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return others | {
            "PYTHONPATH": str(Path(__file__).parent),
            "PYTHONUTF8": "1",
            "DJANGO_SETTINGS_MODULE": "study_site.settings",
            "STUDY_SITE": str(self.folder.absolute() / "site.json"),
        }

    def _log(self) -> Any:
        return (self.folder / "log.txt").open("ab")

    def _failed(self, wrong: str) -> UserError:
        log = self.folder / "log.txt"
        lines = files.read_text(log).strip().splitlines() or ["it gave no reason"]
        remedy = f"read {log}, fix the cause and give the same command again"
        return UserError("Turkle", f"{wrong} ({lines[-1]})", remedy, exit_code=ExitCode.RUN_FAILED)


class Server:
    """A server that runs. It ends with this process, however that ends."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.port = 0

    def first_line(self) -> dict[str, Any]:
        """Return what the server says first, when it listens; nothing if it ended or took too long."""
        output = self._process.stdout
        assert output is not None
        ready, _, _ = select.select([output], [], [], START_SECONDS)
        line = output.readline() if ready else b""
        return dict(json.loads(line)) if line else {}

    def wait(self) -> int:
        """Wait until the server ends by itself, and return its exit code."""
        return self._process.wait()

    def stop(self) -> None:
        """Stop the server and wait until it is gone."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
