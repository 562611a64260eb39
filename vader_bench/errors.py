"""The one error a user sees: what was given, what is wrong, what to do."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["MOST_LINES", "ExitCode", "UserError", "shown"]

MOST_LINES = 20
"""Lines of a message, so that the first of them is still on the screen."""
_LONGEST_LINE = 400
_LONGEST_VALUE = 80


class ExitCode(IntEnum):
    """Exit codes of the command line."""

    DONE = 0
    RUN_FAILED = 1
    BAD_INPUT = 2
    MISSING = 3
    INTERRUPTED = 130


class UserError(Exception):
    """An error that the user can fix; the command line prints it as one line, without a traceback.

    Args:
        given: what the user gave, e.g. ``"experiments/fig7.yaml: methods.vader.k = 0"``.
        wrong: what is wrong with it, e.g. ``"must be at least 1"``.
        remedy: what to do, e.g. ``"set k between 1 and the number of sampler steps"``.
        exit_code: what the process ends with.
    """

    def __init__(
        self, given: str, wrong: str, remedy: str, *, exit_code: ExitCode = ExitCode.BAD_INPUT
    ) -> None:
        super().__init__(_on_a_screen(f"{given}: {wrong}; {remedy}"))
        self.given = given
        self.wrong = wrong
        self.remedy = remedy
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the fields when a worker process sends the error to its parent."""
        return _rebuild, (self.given, self.wrong, self.remedy, self.exit_code)


def shown(value: object) -> str:
    """Return ``value`` as a message quotes it: as Python writes it, a long one cut."""
    text = repr(value)
    if len(text) <= _LONGEST_VALUE:
        return text
    return f"{text[: _LONGEST_VALUE - 20]} ... ({len(text)} characters)"


def _on_a_screen(message: str) -> str:
    """Return ``message`` with no more lines than fit a screen.

    Long ones are cut in the middle, since the remedy is at the end.
    """
    lines = [_cut(line) for line in message.split("\n")]
    if len(lines) > MOST_LINES:
        more = len(lines) - MOST_LINES + 1
        lines = [*lines[: MOST_LINES - 2], f"... {more} more lines ...", lines[-1]]
    return "\n".join(lines)


def _cut(line: str) -> str:
    if len(line) <= _LONGEST_LINE:
        return line
    half = _LONGEST_LINE // 2 - 20
    return f"{line[:half]} ... {len(line) - 2 * half} characters ... {line[-half:]}"


def _rebuild(given: str, wrong: str, remedy: str, exit_code: ExitCode) -> UserError:
    return UserError(given, wrong, remedy, exit_code=exit_code)
