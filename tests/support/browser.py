"""A real browser. Needs Chromium with its driver; tests that ask for it skip without."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["started_browser", "wait_until"]

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def started_browser(profile: Path) -> Iterator[Any]:
    """Start Chromium with its profile in the empty folder ``profile``, and quit it at the end."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium with chromedriver on the path (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={profile}", "--window-size=1200,900"):
        options.add_argument(flag)
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield started
    finally:
        started.quit()


def wait_until(browser: Any, condition: str) -> bool:
    """Wait up to 20 s until the JavaScript ``condition`` holds."""
    script = f"""
      const done = arguments[0];
      const end = Date.now() + 20000;
      const look = () => ({condition}) ? done(true) : Date.now() > end ? done(false) : setTimeout(look, 50);
      look();"""
    browser.set_script_timeout(30)
    return bool(browser.execute_async_script(script))
