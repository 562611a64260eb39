"""What an error says, line by line."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from vader_bench.errors import ExitCode, UserError


def lines_of(call: Callable[[], object]) -> list[str]:
    """Return the lines of the error that ``call`` raises, paths cut to the file's name."""
    with pytest.raises(UserError) as caught:
        call()
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    return [re.sub(r"^/\S*/", "", line) for line in str(caught.value).splitlines()]
