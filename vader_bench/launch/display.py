"""Shows a user how the runs get on: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from vader_bench.errors import ExitCode
from vader_bench.training.progress import Progress

__all__ = ["Display", "Failure", "LineDisplay", "LiveDisplay", "duration", "make_display"]

_LINE_SECONDS = 30.0


@dataclass(frozen=True)
class Failure:
    """A run that did not finish."""

    name: str
    message: str
    exit_code: ExitCode = ExitCode.RUN_FAILED


class Display(Protocol):
    """What is said of every event while runs execute."""

    def started(self, name: str) -> None:
        """A run has been given to a worker."""

    def progressed(self, name: str, progress: Progress) -> None:
        """A running run has something new to say."""

    def finished(self, name: str, seconds: float) -> None:
        """A run is done, after ``seconds``."""

    def failed(self, failure: Failure) -> None:
        """A run has failed."""

    def withdrawn(self, name: str) -> None:
        """A run has no worker any more, and has not ended."""

    def overall(self, done: int, total: int, seconds_left: float | None) -> None:
        """Ended runs out of all, and the expected seconds until the end; ``None`` is not known yet."""

    def note(self, text: str) -> None:
        """Something the user should read, e.g. that a server is away."""


def duration(seconds: float | None) -> str:
    """Return ``seconds`` as ``m:ss`` or ``h:mm:ss``; ``-:--`` for ``None``."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def make_display(console: Console) -> LineDisplay | LiveDisplay:
    """Return the display that suits ``console``; use it as a context."""
    return LiveDisplay(console) if console.is_terminal else LineDisplay(console)


class LineDisplay:
    """One line an event, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = monotonic() + _LINE_SECONDS
        self._ended = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def started(self, name: str) -> None:
        """Say that a run starts."""
        self.note(f"start   {name}")

    def progressed(self, name: str, progress: Progress) -> None:
        """Say nothing: a line an event is enough."""

    def finished(self, name: str, seconds: float) -> None:
        """Say that a run is done, and how long it took."""
        self.note(f"done    {name}  {duration(seconds)}")

    def failed(self, failure: Failure) -> None:
        """Say that a run failed, and why."""
        self.note(f"FAILED  {failure.name}: {failure.message}")

    def withdrawn(self, name: str) -> None:
        """Say nothing: why is said in a note."""

    def overall(self, done: int, total: int, seconds_left: float | None) -> None:
        """Say how far all runs are, when one ended and twice a minute."""
        if done == self._ended and monotonic() < self._next:
            return
        self._ended, self._next = done, monotonic() + _LINE_SECONDS
        self.note(f"        {done} of {total} runs, time left {duration(seconds_left)}")

    def note(self, text: str) -> None:
        """Print ``text`` as it is."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveDisplay:
    """A bar for each running run and one for all of them, with the time left."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
        )
        self._overall = self._bars.add_task("all runs", total=None, note="")
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def started(self, name: str) -> None:
        """Add a bar for the run."""
        self._tasks[name] = self._bars.add_task(name, total=None, note="starting")

    def progressed(self, name: str, progress: Progress) -> None:
        """Move the run's bar."""
        task = self._tasks[name]
        self._bars.update(task, completed=progress.done, total=progress.total, note=progress.note)

    def finished(self, name: str, seconds: float) -> None:
        """Replace the run's bar by a line."""
        self._bars.remove_task(self._tasks.pop(name))
        self.note(f"done    {name}  {duration(seconds)}")

    def failed(self, failure: Failure) -> None:
        """Replace the run's bar by a line that says why it failed."""
        self._bars.remove_task(self._tasks.pop(failure.name))
        self.note(f"FAILED  {failure.name}: {failure.message}")

    def withdrawn(self, name: str) -> None:
        """Remove the run's bar."""
        self._bars.remove_task(self._tasks.pop(name))

    def overall(self, done: int, total: int, seconds_left: float | None) -> None:
        """Move the bar of all runs."""
        note = f"{done} of {total} runs, time left {duration(seconds_left)}"
        self._bars.update(self._overall, completed=done, total=total, note=note)

    def note(self, text: str) -> None:
        """Print ``text`` above the bars."""
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
