"""A small study served with Turkle, called without a browser and answered in a real one."""

from __future__ import annotations

import csv
import html
import json
import os
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.answers import perfect
from tests.support.browser import started_browser, wait_until
from tests.support.site import Visitor
from tests.support.studies import HOSTILE, write_clip, write_study
from vader_bench.cli import main
from vader_bench.errors import ExitCode, UserError
from vader_bench.human.config import load_study
from vader_bench.human.package.build import build_package
from vader_bench.human.plan import Built, ItemKey, load_built
from vader_bench.human.rehearsal.browser import Rehearsed, awaited, rehearse
from vader_bench.human.responses import load_ingested
from vader_bench.human.serving.accounts import PASSWORDS
from vader_bench.human.serving.environment import made_environment
from vader_bench.human.serving.server import Offer, Running, serving

pytestmark = pytest.mark.slow

CODE = "C0MPLETE1"
COMPLETE = f"https://app.prolific.com/submissions/complete?cc={CODE}"
HOST = "study.example.org"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("turkle") / "env"
    try:
        made_environment(folder, lambda _: None)
    except UserError as error:
        pytest.skip(str(error))
    return folder


def build(source: Path, responses: int) -> Built:
    """Build a study of three pairs a block, one of them gold, two blocks a rater."""
    blocks = {"items": 2, "gold": 1, "repeats": 0, "per_rater": 2}
    study = write_study(source, clips=True, responses=responses, blocks=blocks)
    return load_built(build_package(load_study(study), source / "out").folder)


@pytest.fixture(scope="module")
def running(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve thirty blocks to twelve raters: each test takes raters of its own."""
    offer = Offer(port=0, raters=12, prolific=CODE, host=HOST, environment=environment)
    with serving(build(tmp_path_factory.mktemp("study"), 60), offer, lambda _: None) as started:
        yield started


def rater_name(running: Running, number: int) -> str:
    name = list(running.accounts)[number]  # the requester is the first
    assert name.startswith("rater-")
    assert name.endswith(f"-{number}")
    return name


def entered(running: Running, number: int) -> Visitor:
    """Return rater ``number``, who has logged in."""
    visitor = Visitor(running.address)
    name = rater_name(running, number)
    assert visitor.log_in(name, running.accounts[name]).place == "/"
    return visitor


def rows(running: Running) -> list[dict[str, str]]:
    with running.export().path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def ids(number: int, session: int = 1) -> str:
    """Return the address that Prolific sends a person to."""
    return f"/prolific/?PROLIFIC_PID={number:024x}&STUDY_ID={1:024x}&SESSION_ID={session:024x}"


def videos_of(page: str) -> list[str]:
    return re.findall(r"/videos/[0-9a-f]{20}\.mp4", page)


def test_without_logging_in_nothing_is_seen(running: Running) -> None:
    rater, stranger, other = entered(running, 1), Visitor(running.address), entered(running, 2)
    block = rater.begin()
    frame = rater.frame_of(block)
    page = rater.get(frame)
    assert page.status == 200
    assert "block_id" in page.text
    places = [frame, block, block + "return/", "/", "/batch/1/accept_next_task/", "/task/1/",
              "/batch/1/preview_next_task/", "/task/1/iframe/", "/help/", "/stats/", "/admin/",
              "/admin/login/"]  # fmt: skip
    for place in places:
        answer = stranger.get(place)
        assert (answer.status, answer.place.split("?")[0]) == (302, "/login/"), place
    assert {stranger.get(place).status for place in ("/api/", "/api/users/", "/api/schema/")} == {404}
    assert {other.get(place).status for place in (frame, block)} == {404}
    assert other.post(block, rater.fields(block)).status == 404
    assert other.post(block + "return/", {}).status == 404


def test_what_is_the_requesters_is_not_for_raters(running: Running) -> None:
    rater, requester = entered(running, 1), Visitor(running.address)
    requester.log_in("admin", running.accounts["admin"])
    for place in ("/admin/", "/batch/1/preview_next_task/", "/task/1/", "/task/1/iframe/", "/stats/"):
        assert rater.get(place).status == 403, place
        assert requester.get(place).status in {200, 302}, place
    assert "30 blocks are answered" in requester.get("/").text
    assert requester.get("/admin/turkle/batch/").status == 200
    assert requester.get("/batch/1/accept_next_task/").status == 403


def test_videos_come_whole_and_in_parts(running: Running) -> None:
    rater = entered(running, 2)
    place = videos_of(rater.get(rater.frame_of(rater.begin())).text)[0]
    stranger = Visitor(running.address)
    whole = stranger.get(place)
    assert (whole.status, whole.headers["Content-Type"], whole.body[4:8]) == (200, "video/mp4", b"ftyp")
    part = stranger.get(place, Range="bytes=2-9")
    assert (part.status, part.body) == (206, whole.body[2:10])
    assert part.headers["Content-Range"] == f"bytes 2-9/{len(whole.body)}"
    assert stranger.get(place, Range="bytes=9999999-").status == 416
    for wrong in ("/videos/none.mp4", "/videos/../plan.json", "/videos/..%2Fplan.json", "/videos/.mp4"):
        assert stranger.get(wrong).status in {302, 404}, wrong


def test_a_person_answers_so_many_blocks_each_once(running: Running) -> None:
    rater = entered(running, 3)
    first = rater.begin()
    assert rater.begin() == first  # nobody holds two
    assert rater.send(first, answers_json="{}", block_id="0").status == 400
    assert rater.post(first, rater.fields(first) | {"extra": "1"}).status == 400
    assert rater.post(first, rater.fields(first), token=False).status == 403
    fields = rater.fields(first)
    assert rater.post(first, fields).place == "/"
    assert rater.post(first, fields | {"answers_json": '{"v": 2}'}).place == "/"
    assert "Begin a block" in rater.get("/").text
    second = rater.begin()
    assert second != first
    assert rater.send(second).place == "/"
    assert rater.begin() == "/"
    page = rater.get("/").text
    assert "Your answers were saved: 2 blocks." in page
    assert "Nothing is left for you to answer." in page
    own = [row for row in rows(running) if row["Turkle.Username"] == rater_name(running, 3)]
    assert [row["Answer.answers_json"] for row in own] == [fields["answers_json"]] * 2
    assert [row["Answer.block_id"] for row in own] == [row["Input.block_id"] for row in own]


def test_a_block_that_is_given_back_goes_to_the_next_person(running: Running) -> None:
    rater, other = entered(running, 4), entered(running, 5)
    block = rater.begin()
    assert rater.get(block + "return/").status == 405
    assert rater.post(block + "return/", {}).place == "/"
    assert rater.get(block).status == 404
    assert other.begin().split("/")[2] == block.split("/")[2]


def test_a_block_that_is_late_goes_to_someone_else_if_no_other_is_left(
    environment: Path, tmp_path: Path
) -> None:
    offer = Offer(port=0, raters=2, environment=environment)
    with serving(build(tmp_path, 6), offer, lambda _: None) as running:
        rater, other = entered(running, 1), entered(running, 2)
        block = rater.begin()
        assert "Send within 15 minutes" in rater.get(block).text
        with closing(sqlite3.connect(running.folder / "answers.sqlite3", timeout=20)) as database, database:
            ((expires,),) = database.execute("select expires_at from turkle_taskassignment")
            left = datetime.fromisoformat(expires).replace(tzinfo=UTC) - datetime.now(UTC)
            assert timedelta(minutes=14) < left < timedelta(minutes=15)  # three times one minute is too short
            past = datetime.now(UTC) - timedelta(minutes=1)
            database.execute("update turkle_taskassignment set expires_at = ?", [str(past)[:26]])
        second = other.begin()
        assert second.split("/")[2] != block.split("/")[2]
        assert rater.begin() == block
        assert rater.send(block).place == "/"  # late, but nobody needed it
        third = rater.begin()
        fields = rater.fields(third)
        assert other.send(second).place == "/"
        assert other.begin() == "/"
        with closing(sqlite3.connect(running.folder / "answers.sqlite3", timeout=20)) as database, database:
            database.execute("update turkle_taskassignment set expires_at = ?", [str(past)[:26]])
        assert other.begin().split("/")[2] == third.split("/")[2]
        gone = rater.get(third)
        assert gone.status == 404
        assert "may go to someone else" in gone.text
        assert rater.begin() == "/"
        assert other.post(third, fields).status == 404, "who never had it is not late"
        late = rater.post(third, fields)
        assert late.status == 410
        assert "came too late to be used" in late.text
        requester = Visitor(running.address)
        requester.log_in("admin", running.accounts["admin"])
        told = f"{rater_name(running, 1)}: block {fields['block_id']}"
        assert told in requester.get("/").text
        exported = running.export()
        assert exported.late == 1
        assert (
            (exported.path.with_name("late.csv"))
            .read_text("utf-8")
            .splitlines()[1]
            .startswith(f"{rater_name(running, 1)},{fields['block_id']},2")
        )
        assert f"{rater_name(running, 1)}: too late: block" in (running.folder / "log.txt").read_text("utf-8")
        # given back by the other person, it is nobody's: then late answers are taken
        assert other.post(other.begin() + "return/", {}).place == "/"
        assert rater.post(third, fields).place == "/"
        assert running.export().blocks == 3


@pytest.mark.parametrize(
    "query",
    ["", ids(1)[10:].replace("STUDY_ID", "STUDY"), ids(1)[10:].replace("0", "<", 1),
     "?PROLIFIC_PID=&STUDY_ID=1&SESSION_ID=2"],
)  # fmt: skip
def test_an_entry_without_ids_is_refused(running: Running, query: str) -> None:
    answer = Visitor(running.address).get(f"/prolific/{query}")
    assert answer.status == 400
    assert "Open the study on Prolific again" in answer.text


@pytest.mark.parametrize("person", ["preview-5f3c", "{{%25PROLIFIC_PID%25}}", "1"])
def test_a_preview_on_prolific_shows_a_block_and_takes_none(running: Running, person: str) -> None:
    blocks = running.export().blocks
    looking = Visitor(running.address)
    page = looking.get(f"/prolific/?PROLIFIC_PID={person}&STUDY_ID={1:024x}&SESSION_ID={2:024x}")
    assert page.status == 200
    assert "This is a preview" in page.text
    frame = re.search(r'<iframe[^>]* src="([^"]*)"', page.text)
    assert frame
    shown = looking.get(html.unescape(frame[1]))
    assert "assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE" in frame[1]
    assert len(videos_of(shown.text)) == 6
    assert looking.get("/").status == 302, "nobody is logged in"
    with closing(sqlite3.connect(running.folder / "answers.sqlite3", timeout=20)) as database:
        users = database.execute("select username from auth_user").fetchall()
    assert not [name for (name,) in users if "preview" in name]
    assert running.export().blocks == blocks


def test_with_a_list_of_people_nobody_previews(environment: Path, tmp_path: Path) -> None:
    people = tmp_path / "people.txt"
    people.write_text(f"{10:024x}\n", "utf-8")
    offer = Offer(port=0, prolific=CODE, participants=people, environment=environment)
    with serving(build(tmp_path, 4), offer, lambda _: None) as running:
        looking = Visitor(running.address)
        assert looking.get("/prolific/?PROLIFIC_PID=preview&STUDY_ID=1&SESSION_ID=2").status == 400
        assert looking.get("/prolific/preview/").status == 404


def test_a_page_that_fails_is_in_the_log_and_a_title_with_braces_fails_none(
    environment: Path, tmp_path: Path
) -> None:
    blocks = {"items": 2, "gold": 1, "repeats": 0, "per_rater": 2}
    study = write_study(tmp_path, clips=True, responses=4, blocks=blocks, title="Compare ${block_id} {0} {")
    built = load_built(build_package(load_study(study), tmp_path / "out").folder)
    with serving(built, Offer(port=0, raters=1, environment=environment), lambda _: None) as running:
        requester = Visitor(running.address)
        requester.log_in("admin", running.accounts["admin"])
        assert requester.get("/admin/turkle/batch/1/change/").status == 200
        assert requester.get("/").status == 200
        with closing(sqlite3.connect(running.folder / "answers.sqlite3", timeout=20)) as database, database:
            database.execute("update turkle_project set name = 'Compare ${block_id}'")
        assert requester.get("/admin/turkle/batch/1/change/").status == 500
        log = (running.folder / "log.txt").read_text("utf-8")
    assert "ERROR Internal Server Error: /admin/turkle/batch/1/change/" in log
    assert "KeyError: 'block_id'" in log


def test_whoever_comes_while_the_last_block_is_taken_is_asked_to_wait(
    environment: Path, tmp_path: Path
) -> None:
    offer = Offer(port=0, prolific=CODE, environment=environment)
    with serving(build(tmp_path, 2), offer, lambda _: None) as running:
        first, second = Visitor(running.address), Visitor(running.address)
        first.get(ids(1))
        block = first.begin()
        second.get(ids(2))
        assert second.begin() == "/"
        page = " ".join(second.get("/").text.split())
        assert "Other people are at the last blocks." in page
        assert 'http-equiv="refresh" content="60"' in page
        assert "Nothing is left" not in page
        assert first.post(block + "return/", {}).place == "/"
        assert second.begin().split("/")[2] == block.split("/")[2]
        assert second.send(second.begin()).place == COMPLETE
        assert first.begin() == "/"
        page = " ".join(first.get("/").text.split())
        assert "Nothing is left for you to answer. Please return your place on Prolific." in page
        assert "refresh" not in page


def test_a_person_comes_from_prolific_and_goes_back(running: Running) -> None:
    person = Visitor(running.address)
    entry = person.get(ids(10))
    assert (entry.status, entry.place) == (302, "/batch/1/accept_next_task/")
    cookies = [value for name, value in entry.headers.items() if name == "Set-Cookie"]
    assert len(cookies) == 2
    assert all("SameSite=Lax" in cookie for cookie in cookies)  # goes along when a link leads here
    block = person.begin()
    assert person.send(block).place == COMPLETE
    assert person.begin() == person.get("/").place == person.get(block).place == COMPLETE
    elsewhere = Visitor(running.address)  # the same session in another browser
    elsewhere.get(ids(10))
    assert elsewhere.begin() == COMPLETE
    again = Visitor(running.address)
    again.get(ids(10, session=2))
    assert again.send(again.begin()).place == COMPLETE
    third = Visitor(running.address)
    third.get(ids(10, session=3))
    assert third.begin() == "/"
    assert "return your place on Prolific" in " ".join(third.get("/").text.split())
    assert [row["Turkle.Username"] for row in rows(running)].count(f"prolific-{10:024x}") == 2


def test_people_from_prolific_who_are_not_listed_get_no_block(environment: Path, tmp_path: Path) -> None:
    people = tmp_path / "people.txt"
    people.write_text(f"{10:024X}\n\n", "utf-8")
    offer = Offer(port=0, prolific=CODE, participants=people, environment=environment)
    with serving(build(tmp_path, 4), offer, lambda _: None) as running:
        invited, uninvited = Visitor(running.address), Visitor(running.address)
        assert invited.get(ids(10)).status == 302
        refused = uninvited.get(ids(11))
        assert refused.status == 403
        assert "This study is not open to you." in refused.text
        assert "Set-Cookie" not in refused.headers
        with people.open("a", encoding="utf-8") as stream:
            stream.write(f"{11:024x}\n")
        assert uninvited.get(ids(11)).status == 302
        people.write_text(f"{10:024x}\n", "utf-8")
        assert uninvited.begin() == ""  # has an account by now, but no block
        assert uninvited.get("/batch/1/accept_next_task/").status == 403
        block = invited.begin()
        people.unlink()
        assert Visitor(running.address).get(ids(10)).status == 503
        assert invited.begin() == block  # what was begun may be sent
        assert invited.send(block).place == COMPLETE
        assert "people.txt" in (running.folder / "log.txt").read_text("utf-8")


def test_who_opens_the_study_on_prolific_twice_loses_no_answers(running: Running) -> None:
    person = Visitor(running.address)
    person.get(ids(13))
    block = person.begin()
    fields = person.fields(block) | {"csrfmiddlewaretoken": person._token()}  # as the first tab has them
    person.get(ids(13))
    assert person.begin() == block
    assert person.post(block, fields, token=False).place == COMPLETE


def test_a_server_without_the_completion_code_thanks_people_from_prolific(
    environment: Path, tmp_path: Path
) -> None:
    built = build(tmp_path, 6)
    offer = Offer(port=0, prolific=CODE, environment=environment)
    person, late = Visitor(""), Visitor("")
    with serving(built, offer, lambda _: None) as running:
        person.address = late.address = running.address
        person.get(ids(1))
        block = person.begin()
        late.get(ids(2))
        missed = late.begin()
        fields = late.fields(missed)
        assert late.post(missed + "return/", {}).place == "/"
        other = Visitor(running.address)
        other.get(ids(3))
        assert other.begin().split("/")[2] == missed.split("/")[2]
    with serving(built, replace(offer, prolific=None), lambda _: None) as running:
        person.address = late.address = running.address
        for answer in (person.send(block), person.get(block), person.get("/")):
            assert answer.status == 200
            assert "Your answers were saved. This page cannot lead you back to Prolific now" in answer.text
        assert "came too late to be used" in late.post(missed, fields).text
        assert len(rows(running)) == 1
    with serving(built, offer, lambda _: None) as running:
        person.address = running.address
        assert person.get(block).place == person.get("/").place == COMPLETE


def test_many_people_at_once_are_let_in(running: Running) -> None:
    port = urlsplit(running.address).port
    with ExitStack() as stack:
        for _ in range(200):  # thirty browsers, each with the six connections that one keeps
            waiting = stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), 20)))
            waiting.sendall(b"GET /login/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        waiting.settimeout(20)
        assert waiting.recv(15) == b"HTTP/1.1 200 OK"


def test_nobody_logs_in_with_a_password_as_a_person_from_prolific(running: Running) -> None:
    Visitor(running.address).get(ids(11))
    for password in ("", "!", f"{11:024x}"):
        answer = Visitor(running.address).log_in(f"prolific-{11:024x}", password)
        assert answer.status == 200  # the form again


def test_behind_a_proxy_cookies_are_for_tls_and_forms_go_through(running: Running) -> None:
    person = Visitor(running.address, Host=HOST, Origin=f"https://{HOST}")
    entry = person.get(ids(12))
    cookies = [value for name, value in entry.headers.items() if name == "Set-Cookie"]
    assert all("; Secure" in cookie for cookie in cookies)
    plain = {cookie.split("=")[0].strip(): cookie.split("=")[1].split(";")[0] for cookie in cookies}
    sent = Visitor(running.address, Host=HOST, Cookie="; ".join(f"{k}={v}" for k, v in plain.items()))
    block = sent.begin()
    token = next(value for name, value in plain.items() if name.startswith("csrf-"))
    fields = sent.fields(block) | {"csrfmiddlewaretoken": token}
    sent._headers["Origin"] = "https://evil.example.org"
    assert sent.post(block, fields, token=False).status == 403
    sent._headers["Origin"] = f"https://{HOST}"
    assert sent.post(block, fields, token=False).place == COMPLETE
    assert Visitor(running.address, Host="evil.example.org").get("/login/").status == 400


def test_a_new_start_keeps_answers_and_publishes_nothing_twice(environment: Path, tmp_path: Path) -> None:
    built = build(tmp_path, 4)
    with serving(built, Offer(port=0, raters=1, environment=environment), lambda _: None) as running:
        rater = entered(running, 1)
        assert rater.send(rater.begin()).place == "/"
        assert Visitor(running.address).get(ids(1)).status == 404  # not asked for
        accounts = running.accounts
        with pytest.raises(UserError, match="is being served already"):
            serving(built, Offer(), lambda _: None).__enter__()
        port = int(running.address.rpartition(":")[2])
        other = Offer(port=port, simulated=1, environment=environment)
        with pytest.raises(UserError, match=f"port {port}: cannot be listened on"):
            serving(built, other, lambda _: None).__enter__()
    results = built.folder / "server" / "results.csv"
    assert len(results.read_text("utf-8").splitlines()) == 2
    results.unlink()
    assert main(["study", "export", str(built.folder), "--environment", str(environment)]) == ExitCode.DONE
    with serving(built, Offer(port=0, raters=2, environment=environment), lambda _: None) as running:
        assert running.accounts | accounts == running.accounts
        assert len(rows(running)) == 1
        rater.address = running.address  # its login still holds
        assert rater.send(rater.begin()).place == "/"
        late = entered(running, 2)
        assert late.begin() == "/"
        assert len(rows(running)) == 2


def test_blocks_without_a_used_answer_go_to_other_people(environment: Path, tmp_path: Path) -> None:
    built = build(tmp_path, 6)
    said: list[str] = []
    plain, again = (Offer(port=0, raters=3, environment=environment, again=flag) for flag in (False, True))

    def send(rater: Visitor, **changes: Any) -> str:
        place = rater.begin()
        block = rater.fields(place)["block_id"]
        answers = perfect(built, block) | changes
        assert rater.send(place, answers_json=json.dumps(answers)).place == "/"
        return block

    def unwatched(block: str) -> list[dict[str, Any]]:
        return [item | {"frac": [0.1, 1.0]} for item in perfect(built, block)["items"]]

    with serving(built, plain, said.append) as running:
        raters = [entered(running, number) for number in (1, 2, 3)]
        kept, refused = send(raters[0]), send(raters[1], items=[])
        left_out = raters[2].fields(raters[2].begin())["block_id"]
        send(raters[2], items=unwatched(left_out))
    results = running.folder / "results.csv"
    with pytest.raises(UserError, match="has no answers yet"):
        serving(built, again, said.append).__enter__()
    command = ["study", "ingest", str(built.folder), str(results)]
    assert main(command) == ExitCode.DONE
    assert [one.block for one in load_ingested(built.folder).used] == [kept]
    with serving(built, again, said.append):
        pass
    with serving(built, again, said.append) as running:
        for rater in raters:
            rater.address = running.address
        requester = Visitor(running.address)
        requester.log_in("admin", running.accounts["admin"])
        assert "3 of 5 blocks are answered; 2 of these were given out again" in requester.get("/").text
        assert send(raters[1]) == left_out  # not the one that this person had
        assert raters[1].begin() == "/"
        assert send(raters[2]) == refused
        assert raters[0].begin() == "/"
        assert running.export().blocks == 3
    assert said == ["2 blocks are given out again", "0 blocks are given out again"]
    with pytest.raises(UserError, match=r"results.csv: holds other answers than `study ingest` has read"):
        serving(built, again, said.append).__enter__()
    assert main(command) == ExitCode.DONE
    found = load_ingested(built.folder)
    assert {one.block for one in found.used} == set(built.key.blocks)
    assert (len(found.submissions), len(found.refused), len(found.used)) == (4, 1, 3)
    with serving(built, again, said.append):
        assert said[2:] == ["0 blocks are given out again"]


@pytest.mark.usefixtures("interrupts_heard")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_the_server_ends_too(environment: Path, tmp_path: Path, end: signal.Signals) -> None:
    built = build(tmp_path, 4)
    code = "import sys; from vader_bench.cli import main; sys.exit(main())"
    words = ["study", "serve", str(built.folder), "--port", "0", "--environment", str(environment)]
    variables = os.environ | {"PYTHONPATH": str(Path(__file__).parents[4]), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", code, *words, "--prolific", CODE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(3)]
        address = said[0].split()[-3]
        assert str(built.folder / "server" / PASSWORDS) in said[1]
        assert "PROLIFIC_PID={{%PROLIFIC_PID%}}" in said[2]
        assert Visitor(address).get("/login/").status == 200
        process.send_signal(end)
        try:
            code_ = process.wait(60)
        finally:
            process.kill()  # or the end of the block would wait for ever
        rest = process.stdout.read()
    if end != signal.SIGKILL:
        assert code_ == ExitCode.DONE
        assert rest.startswith("warning: who knows it can make up ids")
        assert "stopped; all answers so far" in rest
        assert (built.folder / "server" / "results.csv").exists()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            Visitor(address).get("/login/")
        except OSError:
            return
        time.sleep(0.1)
    pytest.fail("the server outlived the command")


def test_simulated_raters_answer_a_study_in_chromium(environment: Path, tmp_path: Path) -> None:
    built = build(tmp_path, 12)
    asked: list[tuple[str, str, str]] = []

    def decide(rater: str, block: str, item: ItemKey) -> dict[str, Any]:
        asked.append((rater, block, item.id))
        if item.role == "gold":
            return {"text": None, "quality": None}
        return {"text": "L", "quality": "R"}

    names = [f"SIMULATED-{number}" for number in range(1, 4)]
    offer = Offer(port=0, simulated=3, environment=environment)
    done: list[tuple[int, int]] = []
    with serving(built, offer, lambda _: None) as running:
        try:
            found = rehearse(built, running, decide, names, lambda *counts: done.append(counts))
        except UserError as error:
            if error.exit_code == ExitCode.MISSING:
                pytest.skip(str(error))
            raise
        blocks = len(built.key.blocks)
        assert found == Rehearsed(blocks, sum(map(len, built.key.blocks.values())))
        assert done == [(number, blocks) for number in range(1, blocks + 1)]
        answered = rows(running)
    assert running.folder == built.folder / "rehearsal"
    head = (running.folder / "page.png").read_bytes()[:24]
    assert (head[:4], struct.unpack(">2I", head[16:])) == (b"\x89PNG", (1280, 720))
    # blocks are handed out in their order, however long each takes
    by_block = {row["Input.block_id"]: row["Turkle.Username"] for row in answered}
    with (built.package / "batch.csv").open(encoding="utf-8", newline="") as stream:
        order = [row["block_id"] for row in csv.DictReader(stream)]
    assert by_block == {block: names[index % 3] for index, block in enumerate(order)}
    for row in answered:
        answers = json.loads(row["Answer.answers_json"])
        items = built.key.blocks[row["Answer.block_id"]]
        assert [item["id"] for item in answers["items"]] == [item.id for item in items]
        for item, given in zip(items, answers["items"], strict=True):
            assert (row["Turkle.Username"], row["Input.block_id"], item.id) in asked
            if item.role == "gold":
                assert (given["a"], given["problem"]) == ({"text": None, "quality": None}, 1)
            else:
                assert (given["a"], given["problem"]) == ({"text": "L", "quality": "R"}, 0)
                assert min(given["ended"]) >= 1
                assert min(given["frac"]) >= 0.9
    assert main(["study", "ingest", str(built.folder), str(running.folder / "results.csv")]) == ExitCode.DONE
    ingested = load_ingested(built.folder)
    assert ingested.simulated
    assert {one.block for one in ingested.submissions} == set(built.key.blocks)
    assert (len(ingested.submissions), ingested.refused) == (blocks, [])


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    with started_browser(tmp_path) as started:
        yield started


def press(browser: Any, *keys: str) -> None:
    for key in keys:
        browser.switch_to.active_element.send_keys(key)


def fits(browser: Any) -> bool:
    size = "const page = document.documentElement; return page.scrollWidth <= page.clientWidth"
    return bool(browser.execute_script(size))


def test_a_phone_never_scrolls_sideways(running: Running, browser: Any) -> None:
    screen = {"width": 360, "height": 640, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(f"{running.address}{ids(20)}")
    assert browser.execute_script("return window.innerWidth") == 360
    assert fits(browser)
    browser.switch_to.frame("task_assignment_iframe")
    awaited(browser, "agree")
    assert browser.execute_script("return window.innerWidth") <= 360
    assert fits(browser)
    browser.find_element("id", "agree").click()
    assert fits(browser)
    browser.switch_to.default_content()
    browser.find_element("id", "give-back").click()
    browser.switch_to.alert.accept()
    awaited(browser, "begin")
    assert fits(browser)
    browser.find_element("id", "logout").click()
    awaited(browser, "login")
    assert fits(browser)


def spoil_video(built: Built, block: str, place: int) -> None:
    """Put a video that no browser can decode in place of the left one of a pair."""
    with (built.package / "batch.csv").open(encoding="utf-8", newline="") as stream:
        data = next(row["block_json"] for row in csv.DictReader(stream) if row["block_id"] == block)
    name = json.loads(data)["items"][place]["src"][0].rpartition("/")[2]
    write_clip(built.package / "videos" / name, 90, codec="mpeg4")


def test_a_video_that_cannot_be_decoded_is_reported_and_costs_one_pair(
    environment: Path, tmp_path: Path, browser: Any
) -> None:
    built = build(tmp_path, 4)
    state = "document.querySelector('.state').textContent"
    with serving(built, Offer(port=0, raters=1, environment=environment), lambda _: None) as running:
        rater = entered(running, 1)
        block = rater.fields(rater.begin())["block_id"]
        spoil_video(built, block, 1)
        browser.get(f"{running.address}/login/")
        browser.find_element("name", "username").send_keys(rater_name(running, 1))
        browser.find_element("name", "password").send_keys(running.accounts[rater_name(running, 1)])
        browser.find_element("id", "login").click()
        awaited(browser, "begin").click()
        for place in range(len(built.key.blocks[block])):
            browser.switch_to.frame(awaited(browser, "task_assignment_iframe"))
            if place == 0:
                awaited(browser, "agree").click()
            heading = browser.find_element("css selector", "#pair h2").text
            assert heading.startswith(f"Pair {place + 1} of ")
            if place == 1:
                assert wait_until(browser, f"{state}.startsWith('A video could not be loaded.')")
                browser.find_element("css selector", ".problem").click()
            else:
                browser.find_element("css selector", ".both").click()
                assert wait_until(browser, "!document.querySelector('fieldset').disabled")
                for box in browser.find_elements("css selector", "fieldset input[value=L]"):
                    box.click()
            browser.find_element("css selector", ".next").click()
            browser.refresh()  # it goes on where it was, through Turkle's frame too
        browser.switch_to.frame(awaited(browser, "task_assignment_iframe"))
        assert browser.execute_script("return sessionStorage.length") == 1
        awaited(browser, "send").click()
        browser.switch_to.default_content()
        awaited(browser, "begin")
        assert browser.execute_script("return sessionStorage.length") == 0
        (row,) = rows(running)
    items = json.loads(row["Answer.answers_json"])["items"]
    assert [any(item["err"]) for item in items] == [False, True, False]
    assert main(["study", "ingest", str(built.folder), str(running.folder / "results.csv")]) == ExitCode.DONE
    found = load_ingested(built.folder)
    assert found.refused == []
    (submission,) = found.submissions
    assert [set(item.answers.values()) for item in submission.items] == [{"L"}, {None}, {"L"}]
    assert [any(item.errors) for item in submission.items] == [False, True, False]


def test_a_pair_is_answered_by_keyboard_from_the_login_on(running: Running, browser: Any) -> None:
    tab, enter = "\ue004", "\ue007"

    def tab_to(name: str) -> None:
        for _ in range(40):  # the browser's own controls of the videos come first
            inner = "const e = document.activeElement; return [e.id, e.className, e.tagName]"
            if browser.execute_script(inner)[:2].count(name):
                return
            press(browser, tab)
            if browser.execute_script(inner)[2] == "IFRAME":
                browser.switch_to.frame("task_assignment_iframe")
        pytest.fail(f"{name} is not reached by Tab")

    browser.get(f"{running.address}/login/")
    tab_to("id_username")
    name = rater_name(running, 6)
    press(browser, name, tab, running.accounts[name], enter)
    awaited(browser, "begin")
    tab_to("begin")
    press(browser, enter)
    awaited(browser, "task_assignment_iframe")
    tab_to("agree")
    press(browser, " ")
    assert browser.switch_to.active_element.text.startswith("Pair 1 of ")
    tab_to("both")
    press(browser, " ")
    assert wait_until(browser, "!document.querySelector('fieldset').disabled")
    press(browser, tab)  # the box for videos that do not play
    for _ in range(2):
        press(browser, tab, " ")
    press(browser, tab)
    assert browser.switch_to.active_element.text == "Next"
    press(browser, enter)
    assert browser.switch_to.active_element.text.startswith("Pair 2 of ")


def test_hostile_prompts_show_literally_and_run_nothing(
    environment: Path, tmp_path: Path, browser: Any
) -> None:
    """Turkle puts the cells of a batch into the page as they are, one after the other."""
    source = tmp_path / "source"
    source.mkdir()
    blocks = {"items": 4, "gold": 0, "repeats": 0}
    study = write_study(source, clips=True, lines=HOSTILE, responses=8, blocks=blocks)
    built = load_built(build_package(load_study(study), source / "out").folder)
    shown = []
    with serving(built, Offer(port=0, prolific=CODE, environment=environment), lambda _: None) as running:
        browser.get(f"{running.address}{ids(1)}")
        browser.switch_to.frame("task_assignment_iframe")
        awaited(browser, "agree").click()
        for _ in HOSTILE:
            prompt = browser.find_element("css selector", "#pair .prompt")
            assert browser.execute_script("return arguments[0].children.length", prompt) == 0
            shown.append(browser.execute_script("return arguments[0].textContent", prompt))
            browser.find_element("css selector", "#pair .problem").click()
            browser.find_element("css selector", "#pair .next").click()
        assert browser.execute_script("return document.title") != "owned"
        browser.switch_to.default_content()
        assert browser.title != "owned"
    assert sorted(shown) == sorted(HOSTILE)
