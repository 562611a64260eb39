"""A person with a browser before a served study, by the standard library alone."""

from __future__ import annotations

import html
import json
import re
from email.message import Message
from http.cookiejar import CookieJar
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

__all__ = ["Answer", "Visitor"]


class Answer(NamedTuple):
    """What the server sent."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def place(self) -> str:
        """Return where the server sends the person to."""
        return self.headers["Location"] or ""


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Visitor:
    """Keeps cookies, follows nothing by itself."""

    def __init__(self, address: str, **headers: str) -> None:
        self.address = address
        self.cookies = CookieJar()
        self._headers = headers
        self._opener = build_opener(HTTPCookieProcessor(self.cookies), _Stay)

    def get(self, place: str, **headers: str) -> Answer:
        return self._send(Request(urljoin(self.address, place), headers=self._headers | headers))

    def post(self, place: str, fields: dict[str, str], *, token: bool = True) -> Answer:
        data = urlencode(fields | ({"csrfmiddlewaretoken": self._token()} if token else {})).encode()
        return self._send(Request(urljoin(self.address, place), data, headers=self._headers))

    def log_in(self, name: str, password: str) -> Answer:
        self.get("/login/")
        return self.post("/login/", {"username": name, "password": password})

    def begin(self) -> str:
        """Ask for a block and return its address."""
        return self.get("/batch/1/accept_next_task/").place

    def frame_of(self, block: str) -> str:
        """Return the address of the frame in the page of a block."""
        found = re.search(r'<iframe[^>]* src="([^"]*)"', self.get(block).text)
        assert found
        return html.unescape(found[1])

    def send(self, block: str, **changes: str) -> Answer:
        """Answer a block, with an answer that only the reader of results would look into."""
        return self.post(block, self.fields(block) | changes)

    def fields(self, block: str) -> dict[str, str]:
        found = re.search(r'name="block_id" value="([0-9a-f]+)"', self.get(self.frame_of(block)).text)
        assert found
        return {"block_id": found[1], "answers_json": json.dumps({"v": 1, "items": []})}

    def _token(self) -> str:
        return next(str(one.value) for one in self.cookies if one.name.startswith("csrf-"))

    def _send(self, request: Request) -> Answer:
        try:
            with self._opener.open(request, timeout=60) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())
