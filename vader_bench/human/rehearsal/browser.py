"""Simulated raters who answer the real page in a real browser: the rehearsal of a study."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vader_bench import files
from vader_bench.errors import ExitCode, UserError
from vader_bench.human.plan import Built, ItemKey
from vader_bench.human.responses import SIMULATED, Choice
from vader_bench.human.serving.server import Running

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

__all__ = ["Decide", "Rehearsed", "awaited", "rehearse", "require_browser", "started_browser"]

Decide = Callable[[str, str, ItemKey], Mapping[str, Choice | None]]
"""Of rater, block and pair: the choice by question. All ``None``: "a video does not play"."""

FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
PICTURE: Final = "page.png"
WINDOW: Final = (1200, 900)
WAIT_SECONDS: Final = 60
"""Longest that a page may take to load, beside the time that videos play."""

# Answers the pair that is shown, and returns when it is gone. ``wanted`` holds the value of each question in
# their order, or is null where a video is said not to play.
_ANSWER: Final = """
  const [wanted, done] = [arguments[0], arguments[1]];
  const pair = document.getElementById("pair");
  const shown = pair.querySelector("h2");
  const boxes = () => [...pair.querySelectorAll("fieldset")];
  let answered = false;
  const look = () => {
    if (!pair.contains(shown)) {
      watch.disconnect();
      done(true);
    } else if (!answered && (wanted === null || boxes().every((one) => !one.disabled))) {
      answered = true;
      if (wanted === null) {
        pair.querySelector(".problem").click();
      } else {
        boxes().forEach((one, index) => one.querySelector(`input[value="${wanted[index]}"]`).click());
      }
      pair.querySelector(".next").click();
    }
  };
  const watch = new MutationObserver(look);
  watch.observe(pair, { attributes: true, childList: true, subtree: true });
  if (wanted !== null) {
    pair.querySelector(".both").click();
  }
  look();
"""


class Rehearsed(NamedTuple):
    """What simulated raters did."""

    blocks: int
    pairs: int


def require_browser() -> tuple[str, str]:
    """Return the paths of Chromium and of its driver.

    Raises:
        UserError: one of them is missing, or selenium is.
    """
    if find_spec("selenium") is None:
        raise _missing("selenium", "pip install 'vader-bench[browser]'")
    chromium = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        what = "Chromium" if chromium is None else "chromedriver"
        raise _missing(what, "install both, of one version (Debian: chromium, chromium-driver)")
    return chromium, driver


@contextmanager
def started_browser(profile: Path) -> Iterator[Chrome]:
    """Start Chromium without a window, its profile in the empty folder ``profile``; quit it at the end.

    Raises:
        UserError: there is no selenium, no Chromium or no driver for it.
    """
    chromium, driver = require_browser()
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={WINDOW[0]},{WINDOW[1]}"):
        options.add_argument(flag)
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield started
    finally:
        started.quit()


def rehearse(
    built: Built,
    running: Running,
    decide: Decide,
    raters: Sequence[str],
    progress: Callable[[int, int], None],
    windows: int = 2,
) -> Rehearsed:
    """Have ``raters`` answer every block that is left, one each in turn, in headless browsers.

    Blocks are handed out in one order however long each takes, so that the same rater gets the same blocks.
    A picture of what raters see is left beside the results.

    Args:
        built: the study.
        running: its server.
        decide: what a rater answers; called from several threads.
        raters: accounts of simulated raters.
        progress: takes how many blocks are done, and of how many.
        windows: how many browsers answer at a time.

    Raises:
        UserError: there is no browser, the raters are too few, or one of them is none of a rehearsal.
    """
    for rater in raters:
        if not rater.startswith(SIMULATED) or rater not in running.accounts:
            raise UserError(f"rater {rater!r}", "is no simulated rater of this server", "serve it as one")
    left = len(built.key.blocks) - running.export().blocks
    if left > len(raters) * built.plan.blocks.per_rater:
        wrong = f"are too few for {left} blocks at {built.plan.blocks.per_rater} each"
        raise UserError(f"{len(raters)} raters", wrong, "ask for more raters")
    if left == 0:
        return Rehearsed(0, 0)
    panel = _Panel(built, running, decide, raters, left, progress)
    workers = min(windows, left, len(raters))
    with ThreadPoolExecutor(workers) as pool:
        for one in [pool.submit(panel.work) for _ in range(workers)]:
            one.result()
    if panel.done < left:
        remedy = f"delete {running.folder} to rehearse again"
        raise UserError("the raters", f"have no turn left, and {left - panel.done} blocks are open", remedy)
    return Rehearsed(panel.done, panel.pairs)


def _missing(what: str, remedy: str) -> UserError:
    wrong = "is not installed, or not on the path"
    return UserError(what, wrong, remedy, exit_code=ExitCode.MISSING)


def awaited(browser: Chrome, name: str) -> Any:
    """Return the element with the id ``name``, or the first of several, as soon as it is there.

    Raises:
        UserError: it does not come.
    """
    from selenium.common.exceptions import TimeoutException, WebDriverException
    from selenium.webdriver.support.ui import WebDriverWait

    def found(driver: Any) -> Any:
        return driver.find_element("css selector", f"#{name}")

    # between two pages the driver fails in many ways
    wait = WebDriverWait(browser, WAIT_SECONDS, 0.05, ignored_exceptions=[WebDriverException])
    try:
        return wait.until(found)
    except TimeoutException as error:
        wrong = f"did not come within {WAIT_SECONDS} s (no element #{name})"
        remedy = "read log.txt in the folder of the server"
        raise UserError("the next page", wrong, remedy, exit_code=ExitCode.RUN_FAILED) from error


class _Panel:
    """The raters and whose turn it is, shared by all browsers."""

    def __init__(
        self,
        built: Built,
        running: Running,
        decide: Decide,
        raters: Sequence[str],
        wanted: int,
        progress: Callable[[int, int], None],
    ) -> None:
        self._built = built
        self._running = running
        self._decide = decide
        self._wanted = wanted
        self._progress = progress
        self._turns = iter(list(raters) * built.plan.blocks.per_rater)
        self._turn = threading.Lock()
        """Held until a rater has a block: blocks are handed out in the order of the turns."""
        self._busy = {rater: threading.Lock() for rater in raters}
        self._begun = 0
        self._failed = False
        self.done = 0
        self.pairs = 0

    def work(self) -> None:
        """Answer blocks in one browser until none is left."""
        seconds = WAIT_SECONDS + 3 * self._built.plan.video.seconds
        with ExitStack() as failing:
            failing.callback(self._fail)
            with tempfile.TemporaryDirectory() as profile, started_browser(Path(profile)) as browser:
                browser.set_script_timeout(seconds)
                while self._take_turn(browser):
                    pass
            failing.pop_all()

    def _fail(self) -> None:
        self._failed = True  # the others end with the block they are at

    def _take_turn(self, browser: Chrome) -> bool:
        """Have the next rater answer a block; return whether there may be another turn."""
        with ExitStack() as stack:
            with self._turn:
                rater = next(self._turns, None)
                if rater is None or self._begun == self._wanted or self._failed:
                    return False
                stack.enter_context(self._busy[rater])
                _log_in(browser, self._running, rater)
                if not _begin(browser):
                    return True
                self._begun += 1
            pairs = self._answer(browser, rater)
        with self._turn:
            self.done += 1
            self.pairs += pairs
            self._progress(self.done, self._wanted)
        return True

    def _answer(self, browser: Chrome, rater: str) -> int:
        """Answer and send the block that is shown, log out, and return how many pairs it had."""
        block, items = _shown(browser)
        known = {item.id: item for item in self._built.key.blocks[block]}
        browser.find_element("id", "agree").click()
        for name in items:
            choices = self._decide(rater, block, known[name])
            wanted = [choices[question.id] for question in self._built.plan.questions]
            refused = wanted.count(None)
            if refused not in {0, len(wanted)}:
                raise ValueError(f"{name}: a video plays for all questions or for none")
            if not (self._running.folder / PICTURE).exists():
                _photograph(browser, self._running.folder / PICTURE)
            _answer_pair(browser, name, None if refused else wanted)
        browser.find_element("id", "send").click()
        browser.switch_to.default_content()
        awaited(browser, "begin, #nothing")
        _log_out(browser)
        return len(items)


def _photograph(browser: Chrome, path: Path) -> None:
    """Write a picture of the pair that is shown, its questions open, on a page of the smallest size."""
    # the size of a window counts its frame in some versions, which is then missing from the page
    page = {"width": 1280, "height": 720, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", page)
    browser.find_element("css selector", "#pair .both").click()
    awaited(browser, "pair fieldset:enabled")
    files.write_bytes(path, browser.get_screenshot_as_png())
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def _answer_pair(browser: Chrome, name: str, wanted: Sequence[Choice | None] | None) -> None:
    from selenium.common.exceptions import TimeoutException

    try:
        browser.execute_async_script(_ANSWER, wanted)
    except TimeoutException as error:
        remedy = "see that its videos play: serve the study with --simulated 1 and log in as SIMULATED-1"
        raise UserError(f"pair {name}", "cannot be answered in Chromium", remedy) from error


def _log_in(browser: Chrome, running: Running, rater: str) -> None:
    browser.get(f"{running.address}/login/")
    browser.find_element("name", "username").send_keys(rater)
    browser.find_element("name", "password").send_keys(running.accounts[rater])
    browser.find_element("id", "login").click()
    awaited(browser, "begin, #nothing")


def _log_out(browser: Chrome) -> None:
    browser.find_element("id", "logout").click()
    awaited(browser, "login")


def _begin(browser: Chrome) -> bool:
    """Open a block and turn to its frame; return whether there was one for this rater."""
    if not browser.find_elements("id", "begin"):
        _log_out(browser)
        return False
    browser.find_element("id", "begin").click()
    browser.switch_to.frame(awaited(browser, "task_assignment_iframe"))
    awaited(browser, "agree")
    return True


def _shown(browser: Chrome) -> tuple[str, list[str]]:
    """Return the id of the block in the frame and those of its pairs."""
    script = """return [document.querySelector("input[name=block_id]").value,
                        document.getElementById("block").textContent];"""
    block, data = browser.execute_script(script)
    return block, [item["id"] for item in json.loads(data)["items"]]
