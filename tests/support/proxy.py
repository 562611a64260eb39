"""What stands before a server and lets it be away, answer nonsense, or keep its answers back."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

__all__ = ["FAULTS", "Proxy", "proxy"]

FAULTS: Final = ("refuses", "500", "garbage", "silent", "lost")
"""It hangs up; answers 500; answers what is no JSON; never answers; does what is asked, and hangs up."""
_SILENT_SECONDS = 60.0
_HOP = {"connection", "content-length", "server", "date", "transfer-encoding"}


class Proxy:
    """Passes requests on to a server as long as nothing is wrong.

    Args:
        port: of the server, on this machine.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.wrong = ""
        """What is wrong from now on: one of ``FAULTS``, or nothing."""
        self.spared = 0
        """Requests that still go through before that."""
        self.asked = 0
        """Requests so far to which something was wrong."""
        self._lock = threading.Lock()
        self._end = threading.Event()

    def fault(self) -> str:
        """Return what is wrong with the next request."""
        with self._lock:
            if not self.wrong:
                return ""
            if self.spared:
                self.spared -= 1
                return ""
            self.asked += 1
            return self.wrong

    def wait(self) -> None:
        """Keep a request waiting until something else is wrong, or nothing."""
        end = time.monotonic() + _SILENT_SECONDS
        while self.wrong == "silent" and time.monotonic() < end and not self._end.wait(0.02):
            pass

    def stop(self) -> None:
        """Let those who wait go."""
        self._end.set()


@contextmanager
def proxy(port: int) -> Iterator[tuple[Proxy, str]]:
    """Yield a proxy before the server at ``port``, and its address."""
    found = Proxy(port)

    class Handler(_Handler):
        before = found

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found, f"http://127.0.0.1:{server.server_port}"
    finally:
        found.stop()
        server.shutdown()
        server.socket.close()


class _Handler(BaseHTTPRequestHandler):
    before: Proxy

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        wrong = self.before.fault()
        self.close_connection = True
        if wrong == "silent":
            self.before.wait()
        if wrong in {"refuses", "silent"}:
            return
        status, headers, data = (
            (500, {}, b"<html>it is broken</html>")
            if wrong == "500"
            else (200, {}, b"\x00{garbage")
            if wrong == "garbage"
            else self._passed_on(body)
        )
        if wrong == "lost":
            return
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)
        except OSError:  # who asked has gone
            return

    do_DELETE = do_GET = do_PATCH = do_POST = do_PUT = handle_any  # noqa: N815 -- names that the library calls

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _passed_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        there = http.client.HTTPConnection("127.0.0.1", self.before.port, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            there.request(self.command, self.path, body, headers)
            answer = there.getresponse()
            told = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
            return answer.status, told, answer.read()
        finally:
            there.close()
