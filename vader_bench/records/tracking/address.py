"""Addresses of MLflow stores: what a user may give, what MLflow is given, and what may be shown."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from vader_bench.errors import UserError

__all__ = ["DATABASE_NAME", "StoreAddress", "read_address"]

DATABASE_NAME = "mlflow.db"
_HIDDEN = "***"
_CONFIDENCE = re.compile(r"//([^/\s]*)@")
"""Who asks, and with what password, in an address."""
_SQLITE = "sqlite:///"
_REMEDY = "give http://host:port of an MLflow server, or sqlite:////path/mlflow.db"


@dataclass(frozen=True)
class StoreAddress:
    """Where a store is."""

    uri: str
    """What MLflow takes, with a password if there is one: it is never printed or written down."""
    path: Path | None = None
    """The database's file, where the store is no server."""

    @property
    def shown(self) -> str:
        """Return the address without who asks and with what password."""
        return self.hide(self.uri)

    @property
    def command(self) -> str:
        """Return how a user looks at the store: a command, or a server's address to open."""
        if self.path is None:
            return self.shown
        return f"mlflow ui --backend-store-uri {shlex.quote(self.uri)}"

    @property
    def page(self) -> str:
        """Return the address of the store's web page: a server's, or what ``command`` opens."""
        return "http://127.0.0.1:5000" if self.path is not None else self.shown.replace(f"{_HIDDEN}@", "")

    def hide(self, text: str) -> str:
        """Return ``text`` without what the address says in confidence, e.g. where an error repeats it."""
        if self.path is not None:
            return text
        found = _CONFIDENCE.match(self.uri.partition(":")[2])
        user, _, password = found[1].partition(":") if found else ("", "", "")
        secret = password or user  # a token stands alone
        text = _CONFIDENCE.sub(f"//{_HIDDEN}@", text)
        for form in {secret, unquote(secret)} - {""}:
            text = text.replace(form, _HIDDEN)
        return text


def read_address(given: str | None, results: Path) -> StoreAddress:
    """Return the store that a user names.

    Args:
        given: ``http(s)://host:port`` or ``sqlite:///path``; by default ``mlflow.db`` in ``results``.
        results: the folder of all results.

    Raises:
        UserError: it is no such address.
    """
    if not given:
        return _database(results.resolve() / DATABASE_NAME)
    if given.startswith(_SQLITE):
        return _named_database(given)
    try:
        parts = urlsplit(given)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is left open
        usable = False
    if not usable:
        raise UserError(f"tracking address {StoreAddress(given).shown!r}", "is not one", _REMEDY)
    return StoreAddress(given)


def _database(path: Path) -> StoreAddress:
    """Return the store in the file ``path``, by an address that leads there whatever the path is made of.

    In an address ``?`` begins settings, and versions of SQLAlchemy differ in whether ``%`` begins a code: a
    path with them goes through SQLite's own form of addresses. Its slashes are codes too, because MLflow
    makes the folder that it believes to see before the last one.
    """
    if not set("%?") & set(str(path)):
        return StoreAddress(f"{_SQLITE}{path}", path)
    from sqlalchemy.engine import URL

    database = f"file:{quote(str(path), safe='')}"
    url = URL.create("sqlite", database=database, query={"uri": "true"})
    return StoreAddress(url.render_as_string(hide_password=False), path)


def _named_database(given: str) -> StoreAddress:
    """Return the store of an address with a path; a folder that exists as it stands is meant."""
    text = given.removeprefix(_SQLITE)
    literal = Path(text)
    if set("%?") & set(text) and ("?" in literal.name or not literal.parent.is_dir()):
        from sqlalchemy.engine import make_url

        url = make_url(given)
        text = url.database or ""
        if "uri" in url.query:
            text = unquote(text.removeprefix("file:").removeprefix("//"))
        return StoreAddress(given, _file(given, text))
    return _database(_file(given, text))


def _file(given: str, text: str) -> Path:
    if text in {"", ":memory:"} or "\0" in text:
        raise UserError(f"tracking address {given!r}", "names no file", _REMEDY)
    return Path(text).absolute()
