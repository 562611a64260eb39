"""The command line under bad input: entered in this process, and held to one clear line."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Collection, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, settings

from vader_bench.cli import main
from vader_bench.errors import MOST_LINES, ExitCode
from vader_bench.files import TEMPORARY_SUFFIX

__all__ = ["Outcome", "enter", "examples", "hold"]

SECONDS = 10.0
"""What the user waits at most to be told that a file is no good."""
_LONGEST = 10_000
_BARE = re.compile(
    r"Traceback|NoneType|object is not |object has no |object does not |\bnot supported between|"
    r"unhashable|positional argument|keyword argument|invalid literal for|could not convert string|"
    r"(Key|Index|Type|Value|Attribute|Recursion|Unicode\w*|ZeroDivision|Overflow|Assertion)Error|"
    r"validation errors? for|out of range|\bnot subscriptable|0x[0-9a-f]{8,}>"
)
"""Texts of Python's own exceptions, which tell a user nothing of the file."""


class Outcome(NamedTuple):
    """What a command came to."""

    code: int
    said: str
    """On standard error, without what is printed for whoever watches."""


def examples(count: int, most: int | None = None) -> settings:
    """Return the settings of a test with ``count`` examples, the same each time.

    The profile ``many`` (``--hypothesis-profile many``) draws new ones instead, ``most`` or forty times as
    many.
    """
    many = settings.get_current_profile_name() == "many"
    return settings(
        max_examples=(most or 40 * count) if many else count, deadline=None, derandomize=not many,
        database=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large,
        ],
    )  # fmt: skip


def enter(arguments: Sequence[str | Path]) -> Outcome:
    """Call the command line as the shell does; what it lets escape would be a traceback, and escapes."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as errors:
        code = main([*map(str, arguments)])
    return Outcome(code, errors.getvalue())


def hold(
    *arguments: str | Path,
    names: Collection[str] = (),
    codes: Collection[int] = (ExitCode.DONE, ExitCode.BAD_INPUT, ExitCode.MISSING),
    nothing_new: Path | None = None,
) -> Outcome:
    """Enter the command line and demand that it does what was asked, or refuses it in a line, and soon.

    Args:
        arguments: the verb and what follows.
        names: a refusal has to name one of them: the file, or the key in it.
        codes: exit codes that are right.
        nothing_new: a folder in which a refusal may leave nothing that was not there before.
    """
    before = _below(nothing_new)
    begun = time.monotonic()
    code, said = enter(arguments)
    took = time.monotonic() - begun
    assert took < SECONDS, f"took {took:.1f} s: {arguments}"
    assert code in codes, (code, said)
    if code in {ExitCode.BAD_INPUT, ExitCode.MISSING}:
        assert said.count("error: ") >= 1, said
        message = said[said.index("error: ") :]
        assert message.count("\n") <= MOST_LINES, message
        assert len(message) < _LONGEST, message
        assert not _BARE.search(message), message
        assert message.count("; ") >= 1, message  # what is wrong, and what to do
        assert not names or any(name in message for name in names), message
        assert _below(nothing_new) == before
    else:
        assert "Traceback" not in said, said
    return Outcome(code, said)


def _below(folder: Path | None) -> set[Path]:
    """Return what is in ``folder``; nothing may ever be left half written."""
    found = set() if folder is None or not folder.exists() else set(folder.rglob("*"))
    assert not [path for path in found if path.name.endswith(TEMPORARY_SUFFIX)]
    return found
