"""What is wrong in a file, and one error that reports all of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pydantic import ValidationError

from vader_bench.errors import MOST_LINES, UserError

__all__ = ["AtFaultError", "Fault", "first_fault", "raise_faults"]


class Fault(NamedTuple):
    """One thing that is wrong in a file."""

    key: str
    """Where: keys joined by dots; empty for the whole file."""
    wrong: str
    remedy: str


class AtFaultError(Exception):
    """Asked for is a value that is missing or at fault in its file, and was reported as such."""


def raise_faults(given: str, faults: Iterable[Fault | UserError]) -> None:
    """Raise one error that reports the faults of ``given`` on a line each; do nothing without any.

    Args:
        given: the file, put before each ``Fault``; a ``UserError`` says its own.
        faults: what is wrong; said twice, it is reported once. Of more than fit a screen the first are
            reported, and how many are left.

    Raises:
        UserError: ``given: key: what is wrong; remedy``, one line a fault.
    """
    errors = [fault if isinstance(fault, UserError) else _error(given, fault) for fault in faults]
    distinct = list({str(error): error for error in errors}.values())
    if not distinct:
        return
    if len(distinct) > MOST_LINES:
        more = len(distinct) - MOST_LINES + 1
        code = distinct[-1].exit_code
        rest = UserError(given, f"has {more} more faults", "correct these first", exit_code=code)
        distinct = [*distinct[: MOST_LINES - 1], rest]
    last = distinct.pop()
    lines = [*map(str, distinct), last.given]
    raise UserError("\n".join(lines), last.wrong, last.remedy, exit_code=last.exit_code)


def _error(given: str, fault: Fault) -> UserError:
    place = f"{given}: {fault.key}" if fault.key else given
    return UserError(place, fault.wrong, fault.remedy)


def first_fault(error: ValidationError) -> str:
    """Return where the first fault of a file of this program is, and what it is: ``key: what``."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"])) or "the file"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"
