"""A real reward server in a thread, which answers as a test wants."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Request = dict[str, Any]
"""What was asked: ``prompts``, ``videos``, and the header ``Authorization`` as ``key``."""


class Answer(NamedTuple):
    """What the server sends."""

    body: bytes
    status: int = 200
    before: Callable[[], object] = lambda: None
    """Called before anything is sent."""
    cut: int = 0
    """Bytes at the end that are promised and not sent."""


def scores(*found: float | str | None) -> Answer:
    """An answer of these scores."""
    return Answer(json.dumps({"scores": list(found)}).encode())


def frames_of(video: Any) -> NDArray[np.float64]:
    """Pictures [F, H, W, 3] in [0, 1] of a video as it was sent."""
    if isinstance(video, str):
        with av.open(io.BytesIO(base64.b64decode(video)), "r") as container:
            found = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    else:
        found = [np.asarray(Image.open(io.BytesIO(base64.b64decode(frame)))) for frame in video]
    pictures: NDArray[np.float64] = np.stack(found).astype(np.float64) / 255
    return pictures


def red(asked: Request) -> Answer:
    """Mean of the red of each video, and a hundredth for each letter of its prompt."""
    means = [float(frames_of(video)[..., 0].mean()) for video in asked["videos"]]
    return scores(*(mean + len(prompt) / 100 for mean, prompt in zip(means, asked["prompts"], strict=True)))


@contextmanager
def serving(answer: Callable[[Request], Answer]) -> Iterator[tuple[str, list[Request]]]:
    """Serve ``answer``; yields the address, and all requests so far."""
    seen: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked = json.loads(body) | {"key": self.headers.get("Authorization")}
            seen.append(asked)
            found = answer(asked)
            found.before()
            try:
                self.send_response(found.status)
                if found.status == 302:
                    self.send_header("Location", "http://127.0.0.1:1/")
                self.send_header("Content-Length", str(len(found.body)))
                self.end_headers()
                self.wfile.write(found.body[: len(found.body) - found.cut])
            except OSError:
                pass  # whoever asked waits no longer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/score", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
