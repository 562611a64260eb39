"""A real browser. Needs Chromium with its driver; tests that ask for it skip without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from vader_bench.errors import UserError
from vader_bench.human.rehearsal.browser import started_browser as started

__all__ = ["started_browser", "wait_until"]


@contextmanager
def started_browser(profile: Path) -> Iterator[Any]:
    """Start Chromium with its profile in the empty folder ``profile``, and quit it at the end."""
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(started(profile))
        except UserError as error:
            pytest.skip(str(error))
        yield browser


def wait_until(browser: Any, condition: str) -> bool:
    """Wait up to 20 s until the JavaScript ``condition`` holds."""
    script = f"""
      const done = arguments[0];
      const end = Date.now() + 20000;
      const look = () => ({condition}) ? done(true) : Date.now() > end ? done(false) : setTimeout(look, 50);
      look();"""
    browser.set_script_timeout(30)
    return bool(browser.execute_async_script(script))
