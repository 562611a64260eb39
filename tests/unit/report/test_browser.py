"""The page in a real browser, opened from disk. Needs Chromium with its driver; skips without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.browser import started_browser, wait_until
from tests.support.results import Invented, write_results
from vader_bench.files import write_bytes
from vader_bench.report import build_report
from vader_bench.report.index import write_index
from vader_bench.videos import encode_mp4

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = Invented(rewards=("red",), methods=("vader", "ddpo"), seeds=(0, 1))
    folder = write_results(tmp_path_factory.mktemp("page") / "a folder", world)
    shades = torch.linspace(0, 1, 8).reshape(8, 1, 1, 1).expand(8, 3, 64, 64)
    for run in folder.glob("runs/*-seed0"):
        for index in range(4):
            write_bytes(run / "samples" / f"heldout-{index}.mp4", encode_mp4(shades))
    build_report(folder, folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with started_browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    browser.get(page.as_uri())
    return browser


@pytest.fixture
def index(browser: Any, page: Path) -> Any:
    browser.get(write_index(page.parent.parent).path.as_uri())
    return browser


def test_the_page_opens_from_disk_without_a_complaint(opened: Any) -> None:
    assert opened.title == "fig7 on tiny"
    assert [entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_nothing_but_the_videos_is_loaded(opened: Any) -> None:
    assert wait_until(opened, "[...document.querySelectorAll('video')].every((v) => v.readyState >= 1)")
    names = opened.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert all(name.startswith(("file:", "data:")) for name in names)


def test_every_video_can_be_decoded_and_is_muted_and_loops(opened: Any) -> None:
    assert wait_until(opened, "[...document.querySelectorAll('video')].every((v) => v.readyState >= 1)")
    read = "(v) => [v.videoWidth, v.muted, v.loop, v.controls]"
    shown = opened.execute_script(f"return [...document.querySelectorAll('video')].map({read})")
    assert shown == [[256, True, True, True]] * (4 * 3)


def test_one_button_plays_all_and_stops_all(opened: Any) -> None:
    button = opened.find_element("id", "play-all")
    opened.execute_script("arguments[0].click()", button)
    assert wait_until(
        opened, "[...document.querySelectorAll('video')].every((v) => !v.paused && v.currentTime > 0)"
    )
    assert button.text == "Pause all"
    opened.execute_script("arguments[0].click()", button)
    assert wait_until(opened, "[...document.querySelectorAll('video')].every((v) => v.paused)")
    assert button.text == "Play all"


def test_all_videos_of_the_index_play(index: Any) -> None:
    assert index.title == "vader-bench: 1 results"
    index.execute_script("document.getElementById('play-all').click()")
    playing = "[...document.querySelectorAll('video')].every((v) => !v.paused && v.currentTime > 0)"
    assert wait_until(index, playing)
    assert len(index.find_elements("css selector", "video")) == 3
    assert [entry for entry in index.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("width", [1200, 420])
def test_the_page_never_scrolls_sideways(opened: Any, width: int) -> None:
    opened.set_window_size(width, 900)
    wide, window = opened.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= window


def test_the_figure_is_drawn(opened: Any) -> None:
    box = opened.execute_script(
        "return document.querySelector('.drawing svg').getBoundingClientRect().toJSON()"
    )
    assert box["width"] > 300
    assert box["height"] > 200


@pytest.mark.parametrize(("scheme", "dark"), [("dark", True), ("light", False)])
def test_the_colours_follow_the_system(opened: Any, scheme: str, dark: bool) -> None:
    feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    colour = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
    red = int(colour.split("(")[1].split(",")[0])
    assert (red < 128) is dark
