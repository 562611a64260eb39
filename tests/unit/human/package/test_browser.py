"""The page in a real browser, filled and framed as a platform does it."""

from __future__ import annotations

import csv
import json
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.support.browser import started_browser, wait_until
from tests.support.studies import HOSTILE, write_clip, write_study
from vader_bench.human.config import load_study
from vader_bench.human.ingest.page import BlockAnswers, read_answers
from vader_bench.human.package.build import build_package
from vader_bench.human.plan import PACKAGE, load_built

pytestmark = pytest.mark.slow

NEXT = "document.querySelector('.next')"


class Platform(SimpleHTTPRequestHandler):
    """Serves the package and keeps what is posted."""

    posted: Queue[dict[str, list[str]]] = Queue()
    status = 204

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.posted.put(parse_qs(self.rfile.read(size).decode(), keep_blank_values=True))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def filled(source: Path) -> Path:
    """Return a package with its first block filled in, in the form of a batch and of a document."""
    study = write_study(source, lines=HOSTILE, responses=8)
    package = build_package(load_study(study), source / "out").folder / PACKAGE
    with (package / "batch.csv").open(encoding="utf-8", newline="") as stream:
        row = next(csv.DictReader(stream))
    page = (package / "template.html").read_text("utf-8")
    for name, value in row.items():  # raw and one after the other, as Turkle does
        page = page.replace("${" + name + "}", value)
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'  # as the site's own page
    framed = f'<!DOCTYPE html><meta charset="utf-8">{view}<form id="mturk_form" method="post">{page}</form>'
    (package / "batch.html").write_text(framed, "utf-8")
    document = ET.parse(package / "questions" / f"{row['block_id']}.xml").getroot()[0].text
    (package / "document.html").write_text(str(document).strip(), "utf-8")
    return package


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("study")
    write_study(source, clips=True, lines=HOSTILE)
    return filled(source)


@pytest.fixture(scope="module")
def wide_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the same with videos of the shape that most models make."""
    source = tmp_path_factory.mktemp("wide")
    for index in range(len(HOSTILE)):
        write_clip(source / "one" / f"{index}.mp4", 40 + index, size=(512, 288))
        write_clip(source / "two" / f"{index}.mp4", 120 + index, size=(512, 288))
    with served(filled(source)) as place:
        yield place


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(folder) as place:
        yield place


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Platform, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with started_browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


def press(browser: Any, key: str) -> None:
    browser.switch_to.active_element.send_keys(key)


def opened(browser: Any, address: str) -> None:
    """Open a page as in a new tab: nothing is kept of earlier ones."""
    browser.get(address)
    browser.execute_script("sessionStorage.clear()")
    browser.get(address)


def begin(browser: Any, address: str) -> None:
    opened(browser, address)
    browser.find_element("id", "agree").click()


def skip_pair(browser: Any) -> None:
    browser.find_element("css selector", ".problem").click()
    browser.execute_script(f"{NEXT}.click()")


def heading(browser: Any) -> str:
    """Return the headings that are shown."""
    shown = "[...document.querySelectorAll('h2')].filter((one) => one.offsetParent !== null)"
    return str(browser.execute_script(f"return {shown}.map((one) => one.textContent).join(', ')"))


def kept(browser: Any) -> dict[str, Any]:
    text = browser.execute_script("return JSON.stringify({...sessionStorage})")
    return {name: json.loads(value) for name, value in json.loads(text).items()}


def answer(browser: Any) -> None:
    """Watch both videos, take the left one in every question, and go on."""
    browser.execute_script("document.querySelector('.both').click()")
    assert wait_until(browser, "![...document.querySelectorAll('fieldset')].some((one) => one.disabled)")
    for box in browser.find_elements("css selector", "fieldset input[value=L]"):
        box.click()
    assert browser.execute_script(f"return !{NEXT}.disabled")
    browser.execute_script(f"{NEXT}.click()")


def asks_before_it_goes(browser: Any) -> bool:
    leave = "const leaving = new Event('beforeunload', { cancelable: true }); window.dispatchEvent(leaving);"
    return bool(browser.execute_script(f"{leave} return leaving.defaultPrevented"))


def complaints(browser: Any) -> list[str]:
    """Return what went wrong, but for a question before leaving that a page without a click may not ask."""
    messages = [one["message"] for one in browser.get_log("browser") if one["level"] == "SEVERE"]
    return [one for one in messages if "favicon" not in one and "'beforeunload'" not in one]


def ingested(browser: Any, folder: Path) -> BlockAnswers:
    """Return what ingest makes of the answers that the page is about to send."""
    built = load_built(folder.parent)
    block = browser.execute_script("return document.querySelector('[name=block_id]').value")
    text = browser.execute_script("return document.getElementById('answers').value")
    return read_answers(text, built.plan, [item.id for item in built.key.blocks[block]])


@pytest.mark.parametrize("form", ["batch", "document"])
def test_a_block_is_answered_and_hostile_prompts_show_literally(
    browser: Any, address: str, folder: Path, form: str
) -> None:
    begin(browser, f"{address}/{form}.html?assignmentId=A1")
    block = json.loads(browser.execute_script("return document.getElementById('block').textContent"))
    title = browser.title
    shown = []
    for _ in block["items"]:
        shown.append(browser.execute_script("return document.querySelector('.prompt').textContent"))
        answer(browser)
    assert shown == [item["prompt"] for item in block["items"]]
    assert set(shown) == set(HOSTILE)
    assert browser.title == title
    assert complaints(browser) == []
    read = ingested(browser, folder)
    assert all(item.answers == {"text": "L", "quality": "L"} for item in read.items)
    if form == "batch":
        assert heading(browser) == "One step is left: send your answers"
        browser.find_element("id", "send").click()
        assert heading(browser) == "Thank you"  # once it is sent, and not before
        posted = Platform.posted.get(timeout=20)
        assert not asks_before_it_goes(browser)
        assert set(posted) == {"block_id", "answers_json"}
        answers = json.loads(posted["answers_json"][0])
    else:
        answers = json.loads(browser.execute_script("return document.getElementById('answers').value"))
    assert [item["id"] for item in answers["items"]] == [item["id"] for item in block["items"]]
    assert answers["consent"]["version"] == "1"
    for item in answers["items"]:
        assert item["a"] == {"text": "L", "quality": "L"}
        assert min(item["ended"]) >= 1
        assert min(item["frac"]) >= 0.9
        assert item["dims"] == [[64, 48, 0.5]] * 2
        assert (item["err"], item["problem"]) == ([0, 0], 0)
        assert item["ms"] >= 500


def test_answers_stay_shut_until_both_videos_have_played(browser: Any, address: str) -> None:
    begin(browser, f"{address}/batch.html")
    shut = "return [...document.querySelectorAll('fieldset')].every((one) => one.disabled)"
    assert browser.execute_script(shut)
    browser.execute_script("document.querySelector('video').play()")
    assert wait_until(browser, "document.querySelector('video').ended")
    assert browser.execute_script(shut)
    # going to the end without watching does not count
    browser.execute_script("const v = document.querySelectorAll('video')[1]; v.currentTime = 0.45; v.play()")
    assert wait_until(browser, "document.querySelectorAll('video')[1].ended")
    assert browser.execute_script(shut)
    assert browser.execute_script(f"return {NEXT}.disabled")


def test_a_block_goes_on_after_a_reload_until_it_is_sent(
    browser: Any, address: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = f"{address}/batch.html?assignmentId=A1"
    begin(browser, page)
    answer(browser)
    browser.refresh()
    assert heading(browser).startswith("Pair 2 of ")
    assert asks_before_it_goes(browser)
    ((name, value),) = kept(browser).items()
    block = browser.execute_script("return document.querySelector('[name=block_id]').value")
    assert name == f"study block {block} A1"
    assert set(value) == {"consent", "given", "sent"}
    while not browser.find_elements("css selector", "#finish:not([hidden])"):
        skip_pair(browser)
    given = browser.execute_script("return document.getElementById('answers').value")
    monkeypatch.setattr(Platform, "status", 503)
    browser.find_element("id", "send").click()
    assert Platform.posted.get(timeout=20)["answers_json"] == [given]
    assert ["503" in one for one in complaints(browser)] == [True]
    monkeypatch.setattr(Platform, "status", 204)
    browser.get(page)
    assert heading(browser) == "One step is left: send your answers"
    read = ingested(browser, folder)
    assert [item.problem for item in read.items] == [False, *[True] * (len(read.items) - 1)]
    browser.find_element("id", "send").click()
    again = json.loads(Platform.posted.get(timeout=20)["answers_json"][0])
    assert (again["items"], again["consent"]) == tuple(json.loads(given)[key] for key in ("items", "consent"))
    browser.get(f"{address}/batch.html?assignmentId=A2")
    assert heading(browser).startswith("Before you begin")
    assert kept(browser) == {}


def test_another_assignment_begins_again_and_takes_nothing_away(browser: Any, address: str) -> None:
    begin(browser, f"{address}/batch.html?assignmentId=A1")
    skip_pair(browser)
    browser.get(f"{address}/batch.html?assignmentId=A2")
    assert heading(browser).startswith("Before you begin")
    browser.find_element("id", "agree").click()
    browser.get(f"{address}/batch.html?assignmentId=A1")
    assert heading(browser).startswith("Pair 2 of ")
    assert len(kept(browser)) == 2


@pytest.mark.parametrize(
    "spoil",
    ["'{'", "'null'", "'{}'", "text.replace('\"version\":\"1\"', '\"version\":\"0\"')",
     "text.replace(/\"id\":\"[^\"]+\"/, '\"id\":\"x\"')"],
)  # fmt: skip
def test_what_does_not_fit_the_block_is_not_taken_up(browser: Any, address: str, spoil: str) -> None:
    begin(browser, f"{address}/batch.html")
    skip_pair(browser)
    text = "const [[key, text]] = Object.entries(sessionStorage);"
    assert browser.execute_script(f"{text} sessionStorage.setItem(key, {spoil}); return text !== {spoil}")
    browser.refresh()
    assert heading(browser).startswith("Before you begin")
    assert complaints(browser) == []


def test_where_storage_is_forbidden_a_block_is_answered_all_the_same(browser: Any, address: str) -> None:
    opened(browser, f"{address}/batch.html")
    forbid = "Object.defineProperty(window, 'sessionStorage', {get() { throw new DOMException('no'); }})"
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": forbid})
    try:
        browser.refresh()
        browser.find_element("id", "agree").click()
        skip_pair(browser)
        assert heading(browser).startswith("Pair 2 of ")
        assert complaints(browser) == []
        browser.refresh()
        assert heading(browser).startswith("Before you begin")
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_nobody_leaves_a_block_by_mistake(browser: Any, address: str) -> None:
    opened(browser, f"{address}/batch.html")
    assert not asks_before_it_goes(browser)
    browser.find_element("id", "agree").click()
    assert asks_before_it_goes(browser)


def test_a_video_that_does_not_play_is_no_dead_end(browser: Any, address: str) -> None:
    begin(browser, f"{address}/batch.html")
    browser.execute_script("document.querySelectorAll('video')[1].src = '/videos/none.mp4'")
    assert wait_until(browser, "document.querySelector('.state').textContent.includes('could not be loaded')")
    assert browser.execute_script(f"return {NEXT}.disabled")
    skip_pair(browser)
    assert browser.find_element("css selector", "#pair h2").text.startswith("Pair 2 of ")


def test_a_pair_is_answered_by_keyboard(browser: Any, address: str) -> None:
    opened(browser, f"{address}/batch.html")
    browser.execute_script("document.getElementById('agree').focus()")
    press(browser, " ")
    assert browser.switch_to.active_element.text.startswith("Pair 1 of ")
    for _ in range(30):  # the buttons of the videos come first
        press(browser, "\ue004")
        if browser.switch_to.active_element.get_attribute("class") == "both":
            break
    press(browser, " ")
    assert wait_until(browser, "!document.querySelector('fieldset').disabled")
    press(browser, "\ue004")  # the box for videos that do not play
    for _ in range(2):
        press(browser, "\ue004")
        press(browser, " ")
    press(browser, "\ue004")
    assert browser.switch_to.active_element.text == "Next"
    press(browser, "\ue007")
    assert browser.switch_to.active_element.text.startswith("Pair 2 of ")


def watch(browser: Any) -> None:
    browser.execute_script("document.querySelector('.both').click()")
    assert wait_until(browser, "![...document.querySelectorAll('fieldset')].some((one) => one.disabled)")


def chosen(browser: Any) -> list[str | None]:
    boxes = "[...document.querySelectorAll('fieldset')]"
    script = f"return {boxes}.map((one) => (one.querySelector('input:checked') || {{}}).value || null)"
    return list(browser.execute_script(script))


OUTSIDE = """
  const names = ['.prompt', 'video', '.play', '.both', '.problem', 'fieldset', '.next'];
  return names.filter((name) => [...document.querySelectorAll(name)].some((one) => {
    const box = one.getBoundingClientRect();
    return box.top < 0 || box.left < 0 || box.bottom > innerHeight || box.right > innerWidth;
  }));"""
"""What is not in sight."""


@contextmanager
def screen(browser: Any, width: int, height: int, *, phone: bool) -> Iterator[None]:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize(
    ("width", "height", "phone"), [(1280, 675, False), (1024, 675, False), (390, 664, True), (360, 640, True)]
)  # the site's own bar takes 45 of 720 lines, and a phone's browser some 180 of 844
def test_videos_questions_and_next_are_in_sight_at_once(
    browser: Any, wide_address: str, width: int, height: int, phone: bool
) -> None:
    with screen(browser, width, height, phone=phone):
        begin(browser, f"{wide_address}/batch.html")
        for _ in HOSTILE:  # of which one is of 500 letters
            loaded = "[...document.querySelectorAll('video')].every((one) => one.videoWidth)"
            assert wait_until(browser, loaded)
            assert browser.execute_script(OUTSIDE) == []
            size = "const page = document.documentElement; return page.scrollWidth <= page.clientWidth"
            assert browser.execute_script(size)
            skip_pair(browser)


def test_nothing_lies_on_the_picture(browser: Any, address: str) -> None:
    begin(browser, f"{address}/batch.html")
    assert not browser.find_elements("css selector", "video[controls]")
    covered = """return [...document.querySelectorAll('video')].some((video) => {
        const box = video.getBoundingClientRect();
        return [0.1, 0.5, 0.95].some((part) =>
            document.elementFromPoint(box.left + box.width / 2, box.top + part * box.height) !== video);
    })"""
    assert not browser.execute_script(covered)
    play = browser.find_elements("css selector", ".play")[1]
    assert play.text == "Play right"
    play.click()
    assert wait_until(browser, "document.querySelectorAll('video')[1].ended")
    assert not browser.execute_script("return document.querySelectorAll('video')[0].played.length")
    assert play.text == "Play right"
    browser.find_element("css selector", "video").click()
    assert wait_until(browser, "!document.querySelector('fieldset').disabled")


def test_letters_answer_a_pair(browser: Any, address: str) -> None:
    begin(browser, f"{address}/batch.html")
    press(browser, "q")
    press(browser, "n")
    assert chosen(browser) == [None, None], "before both videos were watched"
    press(browser, "p")
    assert wait_until(browser, "!document.querySelector('fieldset').disabled")
    for letter, now in (
        ("q", ["L", None]),
        ("e", ["R", None]),
        ("d", ["R", "R"]),
        ("a", ["R", "L"]),
        ("w", ["R", "L"]),
    ):
        press(browser, letter)
        assert chosen(browser) == now
    press(browser, "x")
    assert chosen(browser) == ["R", "L"]
    press(browser, "n")
    assert heading(browser).startswith("Pair 2 of ")
    press(browser, "b")
    assert heading(browser).startswith("Pair 1 of ")
    press(browser, "b")  # there is no pair before the first one
    assert heading(browser).startswith("Pair 1 of ")
    hints = "return [...document.querySelectorAll('fieldset label')].map((one) => one.dataset.key)"
    assert browser.execute_script(hints) == ["Q", "E", "A", "D"]


def test_answers_can_be_changed_until_they_are_sent(browser: Any, address: str, folder: Path) -> None:
    begin(browser, f"{address}/batch.html?assignmentId=B1")
    answer(browser)
    watch(browser)
    press(browser, "q")  # left unfinished: the second question is open
    browser.find_element("css selector", ".back").click()
    assert heading(browser).startswith("Pair 1 of ")
    assert chosen(browser) == ["L", "L"]
    assert not browser.execute_script(f"return {NEXT}.disabled"), "it was watched and answered before"
    press(browser, "d")
    browser.execute_script(f"{NEXT}.click()")
    assert heading(browser).startswith("Pair 2 of ")
    assert chosen(browser) == ["L", None], "what was begun is kept, the watching too"
    press(browser, "a")
    browser.execute_script(f"{NEXT}.click()")
    while not browser.find_elements("css selector", "#finish:not([hidden])"):
        skip_pair(browser)
    browser.find_element("id", "last").click()
    assert browser.find_element("css selector", ".problem").is_selected()
    browser.execute_script(f"{NEXT}.click()")
    read = ingested(browser, folder)
    assert [item.answers for item in read.items[:2]] == [
        {"text": "L", "quality": "R"},
        {"text": "L", "quality": "L"},
    ]
    for item in read.items[:2]:
        assert min(item.ended) >= 1
        assert min(item.watched) >= 0.9
        assert item.milliseconds >= 500
    assert all(item.problem for item in read.items[2:])


def test_long_words_do_not_push_the_page_aside(browser: Any, address: str) -> None:
    with screen(browser, 390, 664, phone=True):
        begin(browser, f"{address}/batch.html")
        long = "document.querySelector('legend').textContent = 'y'.repeat(300)"
        browser.execute_script(long)
        size = "const page = document.documentElement; return page.scrollWidth <= page.clientWidth"
        assert browser.execute_script(size)


@pytest.mark.parametrize("width", [1200, 500])
def test_the_page_never_scrolls_sideways(browser: Any, address: str, width: int) -> None:
    browser.set_window_size(width, 800)
    begin(browser, f"{address}/batch.html")
    size = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    wide, window = browser.execute_script(size)
    assert wide <= window


def test_a_preview_cannot_be_sent(browser: Any, address: str, folder: Path) -> None:
    begin(browser, f"{address}/batch.html?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE")
    for box in iter(lambda: browser.find_elements("css selector", ".problem"), []):
        box[0].click()
        browser.execute_script(f"{NEXT}.click()")
    assert not browser.find_element("id", "send").is_enabled()
    assert not asks_before_it_goes(browser)
    assert kept(browser) == {}
    assert "preview" in browser.find_element("id", "preview").text
    for item in ingested(browser, folder).items:
        assert item.problem
        assert item.answers == {"text": None, "quality": None}
