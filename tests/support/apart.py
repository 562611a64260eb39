"""Calls in processes of their own, which may die there: on Linux, forked from one that has imported all."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from vader_bench.errors import UserError
from vader_bench.launch.start import start_context

__all__ = ["Apart", "Outcome", "apart"]


class Outcome(NamedTuple):
    """What became of a call."""

    code: int
    """Exit code of its process: 0 where the call ended, with an answer or a ``UserError``; -9 when killed."""
    answer: Any = None
    """What it returned."""
    error: UserError | None = None
    """What it raised."""


class Apart:
    """A call at work in a process of its own.

    Args:
        call: importable by name, or a ``partial`` of what is; so is what it returns.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self._heard, theirs = (context := start_context(["cpu"])).Pipe(duplex=False)
        self._process = context.Process(target=_call, args=(theirs, call), daemon=True)
        self._process.start()
        theirs.close()  # so that its death is an end of file here

    @property
    def pid(self) -> int:
        """Return the number of its process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Tell whether it has not ended."""
        return self._process.is_alive()

    def done(self, seconds: float = 120) -> Outcome:
        """Wait for its end, so long at most, and return what became of it."""
        said: Any = None
        if self._heard.poll(seconds):
            with suppress(EOFError):  # it died without a word
                said = self._heard.recv()
        self._process.join(seconds)
        if (code := self._process.exitcode) is None:
            self._process.kill()
            self._process.join()
            raise TimeoutError(f"no end within {seconds:g} seconds")
        self._heard.close()
        return Outcome(code, error=said) if isinstance(said, UserError) else Outcome(code, said)


def apart(call: Callable[[], object], seconds: float = 120) -> Outcome:
    """Do ``call`` in a process of its own and return what became of it; see ``Apart``."""
    return Apart(call).done(seconds)


def _call(connection: Connection, call: Callable[[], object]) -> None:
    warnings.simplefilter("ignore")
    try:
        answer: object = call()
    except UserError as error:
        answer = error
    connection.send(answer)
