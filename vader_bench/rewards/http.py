"""A reward server: videos and prompts go out over HTTP, scores come in."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import time
from collections.abc import Sequence
from http.client import HTTPException
from typing import Annotated, Any, Literal, NamedTuple
from urllib import error, request
from urllib.parse import urlsplit

import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from vader_bench.config.paths import is_address
from vader_bench.errors import ExitCode, UserError, shown
from vader_bench.rewards.base import Judgement, Reward
from vader_bench.rewards.preprocess import check_video
from vader_bench.videos import encode_mp4

__all__ = ["HttpReward"]

_BUSY = (429, 500, 502, 503, 504)
"""Statuses that another try may change."""
_MOST_BYTES = 16_000_000
"""Of an answer; scores of a batch need a few hundred."""


class _Failure(NamedTuple):
    """Why a try brought no answer, and whether another one may."""

    wrong: str
    passing: bool


class _NoRedirects(request.HTTPRedirectHandler):
    """Follows none, so that no other server is sent the key."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Return nothing: the answer is the redirect itself."""


class HttpReward(Reward):
    """What a server of yours says of a video and its prompt.

    A black box: no gradient. One request carries up to ``batch`` videos as JSON:
    ``{"prompts": [...], "videos": [...]}``, each video an MP4 file (H.264) in base64, or, with
    ``send: frames``, a list of its frames as PNG files in base64. The answer is
    ``{"scores": [...]}``, a number for each video in their order. A video that is judged is one query,
    however often it is sent. A score that is missing or no number stops the run.

    Args:
        url: of the server.
        send: ``mp4``, or ``frames`` without loss.
        batch: videos of a request.
        seconds: that an answer may take.
        retries: of a request that finds no server, a slow one, or one that is busy or fails (429, 5xx).
        pause: seconds before the first retry; twice as many before each further one.
        key: name of the environment variable whose value is sent as a bearer token; it is written nowhere.
        frames: frames of a video that are judged; all if ``None``.
        frames_per_second: of the MP4 files.

    Raises:
        UserError: the address is none, or the variable is not set.
    """

    name = "http"
    differentiable = False
    units = "what the server says"
    value_range = (-math.inf, math.inf)

    def __init__(  # noqa: PLR0913 - the settings of the family, by name
        self,
        url: str,
        *,
        send: Literal["mp4", "frames"] = "mp4",
        batch: Annotated[int, Field(ge=1)] = 4,
        seconds: Annotated[float, Field(gt=0)] = 120.0,
        retries: Annotated[int, Field(ge=0)] = 3,
        pause: Annotated[float, Field(ge=0)] = 1.0,
        key: str | None = None,
        frames: Annotated[int | None, Field(ge=1)] = None,
        frames_per_second: Annotated[int, Field(ge=1)] = 8,
    ) -> None:
        _require_address(url)
        self.frames = frames
        self.source = f"reward server {url}"
        self._url = url
        self._send = send
        self._batch = batch
        self._seconds = seconds
        self._retries = retries
        self._pause = pause
        self._headers = {"Content-Type": "application/json", **_authorisation(key)}
        self._rate = frames_per_second

    @classmethod
    def reader(cls, **settings: Any) -> None:
        """Return nothing, since the server is not asked; an address or a key that is missing is refused here.

        Raises:
            UserError: as for the constructor.
        """
        cls(**settings)

    @torch.no_grad()
    def judge(self, video: Tensor, prompts: Sequence[str]) -> Judgement:
        """Judge ``video`` [B, F, 3, H, W] in [0, 1], one prompt a video.

        Raises:
            UserError: the server is away, refuses or answers something else than a finite score a video.
        """
        check_video(self.name, video, prompts, self.frames)
        found: list[float] = []
        for first in range(0, len(prompts), self._batch):
            part = slice(first, first + self._batch)
            found += self._scores(video[part], list(prompts[part]))
        score = torch.tensor(found, dtype=video.dtype, device=video.device)
        return Judgement(score, score)

    def _scores(self, video: Tensor, prompts: list[str]) -> list[float]:
        """Return the server's scores of one request."""
        make = self._mp4 if self._send == "mp4" else _pngs
        body = json.dumps({"prompts": prompts, "videos": [make(one) for one in video.float().cpu()]})
        answer = self._asked(body.encode())
        try:
            scores = json.loads(answer)["scores"]
        except (ValueError, RecursionError, KeyError, TypeError):
            raise self._error(f'answered {shown(answer[:200])}, which is no {{"scores": [...]}}') from None
        if not isinstance(scores, list) or len(scores) != len(prompts):
            count = len(scores) if isinstance(scores, list) else 0
            raise self._error(f"answered {count} scores for {len(prompts)} videos")
        for number, score in enumerate(scores, start=1):
            if isinstance(score, bool) or not isinstance(score, int | float) or not _finite(score):
                raise self._error(f"answered {shown(score)} as score {number}, which is no finite number")
        return [float(score) for score in scores]

    def _asked(self, body: bytes) -> bytes:
        """Return the server's answer to ``body``, asked again where that may help."""
        attempt = 0
        while True:
            found = self._tried(body)
            if isinstance(found, bytes):
                return found
            if not found.passing or attempt == self._retries:
                tries = f" (asked {attempt + 1} times)" if attempt else ""
                raise self._error(found.wrong + tries)
            time.sleep(self._pause * 2**attempt)
            attempt += 1

    def _tried(self, body: bytes) -> bytes | _Failure:
        """Return the answer to one request, or why there is none."""
        asked = request.Request(self._url, data=body, headers=self._headers, method="POST")  # noqa: S310 - checked
        end = time.monotonic() + self._seconds
        try:
            with request.build_opener(_NoRedirects).open(asked, timeout=self._seconds) as answer:
                return self._read(answer, end)
        except error.HTTPError as refusal:
            return _Failure(f"answered {refusal.code} {shown(_said(refusal))}", refusal.code in _BUSY)
        except TimeoutError:
            return _Failure(f"gave no answer in {self._seconds:g} seconds", passing=True)
        except error.URLError as away:
            if isinstance(away.reason, TimeoutError):
                return _Failure(f"gave no answer in {self._seconds:g} seconds", passing=True)
            return _Failure(f"cannot be reached ({away.reason})", passing=True)
        except (OSError, HTTPException) as broken:
            return _Failure(f"broke off ({type(broken).__name__})", passing=True)

    def _read(self, answer: Any, end: float) -> bytes | _Failure:
        """Return a whole answer; one that comes in drops counts as slow."""
        parts: list[bytes] = []
        while part := answer.read1(65536):
            parts.append(part)
            if time.monotonic() > end:
                return _Failure(f"gave no whole answer in {self._seconds:g} seconds", passing=True)
            if sum(map(len, parts)) > _MOST_BYTES:
                return _Failure(f"answered more than {_MOST_BYTES} bytes", passing=False)
        if answer.length:  # of what its head promised, so much is missing
            return _Failure("broke off", passing=True)
        return b"".join(parts)

    def _mp4(self, video: Tensor) -> str:
        return base64.b64encode(encode_mp4(video, frames_per_second=self._rate, side=1, crf=8)).decode()

    def _error(self, wrong: str) -> UserError:
        remedy = "look at the server's log, then give the command again: the run goes on"
        return UserError(f"reward server {self._url}", wrong, remedy, exit_code=ExitCode.RUN_FAILED)


def _said(refusal: error.HTTPError) -> str:
    """Return the beginning of what a server says beside its refusal; nothing if that does not come."""
    try:
        return refusal.read(200).decode(errors="replace")
    except (OSError, HTTPException):
        return ""


def _pngs(video: Tensor) -> list[str]:
    """Return the frames of ``video`` [F, 3, H, W] as PNG files in base64."""
    pixels = video.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
    found = []
    for frame in pixels:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, format="PNG")
        found.append(base64.b64encode(file.getvalue()).decode())
    return found


def _finite(score: float) -> bool:
    try:
        return math.isfinite(score)
    except OverflowError:  # of a whole number beyond any float
        return False


def _require_address(url: str) -> None:
    remedy = "write http://host:port/path"
    try:
        parts = urlsplit(url)
        fits = is_address(url) and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fits = False
    if not fits:
        raise UserError(f"url = {url!r}", "is no address of a server", remedy)
    if "@" in parts.netloc:  # it would be in every record
        wrong = "holds a password"
        raise UserError(
            f"url of the server {parts.hostname}", wrong, "put it in an environment variable: `key`"
        )


def _authorisation(key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    value = os.environ.get(key, "")
    if not value:
        raise UserError(f"key = {key!r}", "is no environment variable that is set", f"set {key} to the key")
    if not value.isascii() or not value.isprintable():
        raise UserError(f"environment variable {key}", "holds what no header may hold", "set it again")
    return {"Authorization": f"Bearer {value}"}
