"""A study on a server of this machine: published once, answered by many, its answers kept between starts."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import math
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from vader_bench import files
from vader_bench.errors import ExitCode, UserError
from vader_bench.human.manifest import changed_files
from vader_bench.human.plan import Built, StudyPlan
from vader_bench.human.serving.accounts import ADMIN, kept_accounts
from vader_bench.human.serving.again import blocks_again
from vader_bench.human.serving.child import Server, Site
from vader_bench.human.serving.environment import default_environment, made_environment
from vader_bench.human.serving.study_site.checks import is_id, listed
from vader_bench.report.tables import csv_text

__all__ = [
    "LATE",
    "REHEARSAL",
    "RESULTS",
    "SERVER",
    "Exported",
    "Offer",
    "Running",
    "export_results",
    "serving",
]

SERVER: Final = "server"
"""Folder of the server's data, in the folder of a study."""
REHEARSAL: Final = "rehearsal"
"""The same for simulated raters, whose answers never mix with those of people."""
RESULTS: Final = "results.csv"
"""Turkle's results file, in either folder."""
LATE: Final = "late.csv"
"""Who sent a block when someone else had it by then, in either folder: these answers are no results."""
SHORTEST_MINUTES: Final = 15
"""For which a block is kept at least."""


@dataclass(frozen=True)
class Offer:
    """How a study is served."""

    port: int = 8000
    """Of loopback; 0 is any free one."""
    raters: int = 0
    """Accounts ``rater-x7k2-1``, ``rater-x7k2-2``, … that there are at least."""
    simulated: int = 0
    """Accounts of simulated raters, in place of all others and on data of their own."""
    prolific: str | None = None
    """Completion code of a study on Prolific, whose people are let in by their ids."""
    participants: Path | None = None
    """Whom of Prolific's people to let in: one id a line, read whenever one comes; by default all."""
    host: str | None = None
    """Public name, where a proxy of the user's own takes TLS for it."""
    environment: Path | None = None
    """Folder of Turkle's environment; by default one in the user's cache."""
    again: bool = False
    """Give out once more the blocks of which no answer is used."""


class Exported(NamedTuple):
    """A results file."""

    path: Path
    blocks: int
    """How many blocks have been answered, each counted once."""
    late: int = 0
    """How many were sent when someone else had the block by then; ``LATE`` beside the results names them."""


class Running:
    """A study that is being served."""

    def __init__(self, server: Server, site: Site, accounts: Mapping[str, str]) -> None:
        self._server = server
        self._site = site
        self.address = f"http://127.0.0.1:{server.port}"
        self.folder = site.folder
        """Data of the server."""
        self.accounts = dict(accounts)
        """Passwords by name of the account."""

    def export(self) -> Exported:
        """Write the results file with all answers so far."""
        return _export(self._site)

    def wait(self) -> None:
        """Wait for ever.

        Raises:
            UserError: the server ended by itself.
        """
        code = self._server.wait()
        remedy = "give the same command again; all answers are kept"
        wrong = f"ended with code {code}"
        raise UserError("the server", wrong, remedy, exit_code=ExitCode.RUN_FAILED)


@contextmanager
def serving(built: Built, offer: Offer, say: Callable[[str], None]) -> Iterator[Running]:
    """Serve a study until the end of the block, and write its results file then.

    Args:
        built: the study.
        offer: how.
        say: takes what is being done, one line each.

    Raises:
        UserError: an option is wrong, a file of the package is not as the manifest says, the study is served
            already, blocks are to be given out again before all answers were read, or the server does not
            start.
    """
    _check_offer(offer)
    _check_package(built.package)
    folder = built.folder / (REHEARSAL if offer.simulated else SERVER)
    with ExitStack() as stack:
        files.make_private_folder(folder)
        stack.enter_context(_alone(folder))
        site = Site(made_environment(offer.environment or default_environment(), say), folder)
        accounts = kept_accounts(folder, offer.raters, offer.simulated)
        _configure(built, offer, folder)
        _prepare(built, site, accounts)
        if offer.again:
            blocks = blocks_again(built, _export(site).path)
            added = json.loads(site.ask("again", {"blocks": blocks}))["added"]
            say(f"{added} blocks are given out again")
        server = site.start(offer.port)
        stack.callback(_export, site)
        stack.callback(server.stop)
        yield Running(server, site, accounts)


def export_results(built: Built, environment: Path | None, say: Callable[[str], None]) -> Exported:
    """Write the results file of a study that is or was served.

    Args:
        built: the study.
        environment: folder of Turkle's environment; by default the one in the user's cache.
        say: takes what is being done, one line each.

    Raises:
        UserError: it was never served.
    """
    folder = built.folder / SERVER
    if not (folder / "site.json").exists():
        raise UserError(str(built.folder), "was never served", "run `vader-bench study serve` on it")
    return _export(Site(made_environment(environment or default_environment(), say), folder))


def _export(site: Site) -> Exported:
    exported: dict[str, Any] = json.loads(site.ask("export"))
    files.write_private(site.folder / RESULTS, exported["results"])
    late = exported["late"]
    if late or (site.folder / LATE).exists():
        rows = [[one["account"], one["block"], one["time"]] for one in late]
        files.write_private(site.folder / LATE, csv_text(["account", "block", "time"], rows))
    answered = {row["Input.block_id"] for row in csv.DictReader(io.StringIO(exported["results"], newline=""))}
    return Exported(site.folder / RESULTS, len(answered), len(late))


def _rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def _check_offer(offer: Offer) -> None:
    if offer.prolific is not None and not re.fullmatch(r"[A-Za-z0-9]{1,64}", offer.prolific):
        remedy = "copy the completion code of the study from Prolific: letters and digits"
        raise UserError(f"--prolific {offer.prolific}", "is no completion code", remedy)
    if offer.participants is not None:
        if offer.prolific is None:
            raise UserError("--participants", "lists people from Prolific", "give --prolific as well")
        _check_participants(offer.participants)
    if offer.host is not None and not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", offer.host):
        remedy = "give the plain name, such as study.example.org"
        raise UserError(f"--host {offer.host}", "is no name of a host in small letters", remedy)
    if offer.simulated and (offer.raters or offer.prolific):
        remedy = "serve people and simulated raters one after the other"
        raise UserError("--simulated", "is for rehearsals, without people", remedy)


def _check_participants(path: Path) -> None:
    """Refuse a list in which a line is no id. No line is quoted: it may be a name."""
    for number, line in enumerate(listed(files.read_text(path)), start=1):
        if line and not is_id(line):
            remedy = "give one PROLIFIC_PID a line, 24 hexadecimal digits, without a header"
            raise UserError(f"--participants {path}, line {number}", "is no id of Prolific", remedy)


def _check_package(package: Path) -> None:
    """Refuse a package of which a file is not as the manifest says."""
    if changed := changed_files(package):
        remedy = "run `vader-bench study build` again, which restores the files of the same plan"
        raise UserError(str(package / changed[0]), "is not as the manifest says", remedy)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(str(folder), "is being served already", "stop the other server first") from error
        yield
    finally:
        os.close(handle)


def _key(path: Path) -> str:
    told = files.read_json(path)
    key = told.get("secret_key") if isinstance(told, dict) else None
    if not isinstance(key, str) or not key:
        wrong, remedy = "has no secret_key", "restore it, or delete it: all raters then log in again"
        raise UserError(str(path), wrong, remedy)
    return key


def _configure(built: Built, offer: Offer, folder: Path) -> None:
    """Write what the site is told. The key that signs cookies is drawn once, so that logins last."""
    path = folder / "site.json"
    key = _key(path) if path.exists() else secrets.token_urlsafe(48)
    site = {
        "secret_key": key,
        "database": str((folder / "answers.sqlite3").absolute()),
        "media": str((built.package / "videos").absolute()),
        "media_path": _media_path(built.package),
        "public": offer.host,
        "prolific": offer.prolific,
        "participants": None if offer.participants is None else str(offer.participants.absolute()),
        "minutes": _minutes(built.plan),
        "per_rater": built.plan.blocks.per_rater,
        "plan": built.plan.digest,
        "title": built.plan.title,
    }
    files.write_private(path, json.dumps(site, indent=2) + "\n")


def _minutes(plan: StudyPlan) -> int:
    """Return how long a block is kept for who has begun it: three times as long as it is meant to take."""
    seconds = plan.blocks.longest * plan.pay.seconds_per_item
    return max(SHORTEST_MINUTES, math.ceil(3 * seconds / 60))


def _media_path(package: Path) -> str:
    """Return the path under which pages look for the videos; empty if they are on another server."""
    _, first, *_ = _rows(files.read_text(package / "batch.csv"))
    source: str = json.loads(first[1])["items"][0]["src"][0]
    return "" if urlsplit(source).netloc else source.rpartition("/")[0] + "/"


def _prepare(built: Built, site: Site, accounts: Mapping[str, str]) -> None:
    asked = {
        "accounts": accounts,
        "admin": ADMIN,
        "template": files.read_text(built.package / "template.html"),
        "table": files.read_text(built.package / "batch.csv"),
    }
    answer: dict[str, Any] = json.loads(site.ask("prepare", asked))
    if "error" in answer:
        remedy = "keep that folder with the plan it belongs to, and build this study under another name"
        raise UserError(str(site.folder), f"holds answers to {answer['error']}", remedy)
