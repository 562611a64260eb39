"""The one error a user sees: what was given, what is wrong, what to do."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode", "UserError"]


class ExitCode(IntEnum):
    """Exit codes of the command line."""

    DONE = 0
    RUN_FAILED = 1
    BAD_INPUT = 2
    MISSING = 3
    INTERRUPTED = 130


class UserError(Exception):
    """An error that the user can mend; the command line prints it as one line, without a traceback.

    Args:
        given: what the user gave, e.g. ``"experiments/fig7.yaml: methods.vader.k = 0"``.
        wrong: what is wrong with it, e.g. ``"must be at least 1"``.
        remedy: what to do, e.g. ``"set k between 1 and the number of sampler steps"``.
        exit_code: what the process ends with.
    """

    def __init__(
        self, given: str, wrong: str, remedy: str, *, exit_code: ExitCode = ExitCode.BAD_INPUT
    ) -> None:
        super().__init__(f"{given}: {wrong}; {remedy}")
        self.given = given
        self.wrong = wrong
        self.remedy = remedy
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the fields when a worker process sends the error to its parent."""
        return _rebuild, (self.given, self.wrong, self.remedy, self.exit_code)


def _rebuild(given: str, wrong: str, remedy: str, exit_code: ExitCode) -> UserError:
    return UserError(given, wrong, remedy, exit_code=exit_code)
