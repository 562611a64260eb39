"""What is refused before anything is served."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.studies import write_study
from vader_bench import files
from vader_bench.errors import UserError
from vader_bench.human.config import load_study
from vader_bench.human.package.build import build_package
from vader_bench.human.plan import Built, load_built
from vader_bench.human.serving import server
from vader_bench.human.serving.server import Offer, export_results, serving


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("study")
    config = load_study(write_study(source, clips=True, responses=8))
    return build_package(config, source / "out").folder


@pytest.fixture
def built(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    """Return a study; where it gets as far as the environment, a test ends with ``LookupError``."""

    def reached(*_: Any) -> Path:
        raise LookupError

    monkeypatch.setattr(server, "made_environment", reached)
    return load_built(Path(shutil.copytree(study, tmp_path / "small")))


def serve(built: Built, **offer: Any) -> None:
    with serving(built, Offer(**offer), lambda _: None):
        pass


@pytest.mark.parametrize(
    ("offer", "wrong"),
    [
        ({"prolific": "https://app"}, "is no completion code"),
        ({"prolific": ""}, "is no completion code"),
        ({"prolific": "C1\n"}, "is no completion code"),
        ({"host": "https://study.example.org"}, "is no name of a host"),
        ({"host": "study.example.org:443"}, "is no name of a host"),
        ({"host": "*"}, "is no name of a host"),
        ({"host": ".example.org"}, "is no name of a host"),
        ({"participants": Path("people.txt")}, "lists people from Prolific"),
        ({"simulated": 2, "raters": 1}, "is for rehearsals"),
        ({"simulated": 2, "prolific": "C1"}, "is for rehearsals"),
    ],
)
def test_wrong_options_are_reported(built: Built, offer: dict[str, Any], wrong: str) -> None:
    with pytest.raises(UserError, match=wrong):
        serve(built, **offer)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Participant id\n", r"line 1: is no id of Prolific"),
        (f"{24 * 'a'}\n\n{24 * 'b'},x\n", r"line 3: is no id of Prolific"),
        (None, "does not exist"),
    ],
)
def test_a_list_of_people_is_read_before_anyone_comes(
    built: Built, tmp_path: Path, text: str | None, wrong: str
) -> None:
    people = tmp_path / "people.txt"
    if text is not None:
        people.write_text(text, "utf-8")
    with pytest.raises(UserError, match=wrong):
        serve(built, prolific="C1", participants=people)
    people.write_text(f"{24 * 'a'}\r\n\r\n{24 * 'B'}", "utf-8")
    with pytest.raises(LookupError):
        serve(built, prolific="C1", participants=people)


def test_a_block_is_kept_three_times_as_long_as_it_takes(built: Built) -> None:
    pairs = built.plan.blocks.longest
    for seconds, minutes in ((20.0, 15), (100.0, -(-pairs * 300 // 60)), (100.1, -(-pairs * 300 // 60) + 1)):
        pay = built.plan.pay.model_copy(update={"seconds_per_item": seconds})
        assert server._minutes(built.plan.model_copy(update={"pay": pay})) == minutes


def test_good_options_lead_on(built: Built) -> None:
    with pytest.raises(LookupError):
        serve(built, raters=3, prolific="C1A2B3", host="study.example.org")


@pytest.mark.parametrize("name", ["batch.csv", "template.html", "videos"])
def test_a_package_that_was_changed_is_not_served(built: Built, name: str) -> None:
    path = built.package / name
    if path.is_dir():
        path = next(path.iterdir())
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(UserError, match=f"{path.name}: is not as the manifest says"):
        serve(built)
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name}: is not as the manifest says"):
        serve(built)
    assert not (built.folder / "server").exists()


def test_one_folder_has_one_server(built: Built) -> None:
    (built.folder / "server").mkdir()
    handle = os.open(built.folder / "server", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(UserError, match="is being served already"):
            serve(built)
        with pytest.raises(LookupError):  # a rehearsal has a folder of its own
            serve(built, simulated=1)
    finally:
        os.close(handle)
    assert (built.folder / "server").stat().st_mode & 0o777 == 0o700


def test_there_is_nothing_to_export_before(built: Built) -> None:
    with pytest.raises(UserError, match="was never served"):
        export_results(built, None, lambda _: None)


@pytest.mark.parametrize(
    ("url", "path"),
    [("/videos/", "/videos/"), ("/a/b/", "/a/b/"), ("/", "/"), ("https://cdn.example.org/s/", "")],
)
def test_videos_are_served_where_the_pages_look_for_them(built: Built, url: str, path: str) -> None:
    table = built.package / "batch.csv"
    table.write_text(table.read_text("utf-8").replace("/videos/", url), "utf-8")
    assert server._media_path(built.package) == path


def test_the_key_of_logins_is_drawn_once(built: Built) -> None:
    folder = built.folder / "server"
    server._configure(built, Offer(), folder)
    first = files.read_json(folder / "site.json")
    server._configure(built, Offer(prolific="C1", host="h.org"), folder)
    second = files.read_json(folder / "site.json")
    assert second == first | {"prolific": "C1", "public": "h.org"}
    assert len(first["secret_key"]) >= 50
    server._configure(built, Offer(), built.folder / "rehearsal")
    assert files.read_json(built.folder / "rehearsal" / "site.json")["secret_key"] != first["secret_key"]
