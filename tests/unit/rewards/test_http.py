"""A reward server, asked over a real socket."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.reward_server import Answer, Request, frames_of, red, scores, serving
from vader_bench.budget.ledger import Budget, Meter
from vader_bench.budget.metering import MeteredReward
from vader_bench.config.paths import weight_names
from vader_bench.errors import UserError
from vader_bench.experiment.load import load_suite
from vader_bench.rewards import make_reward
from vader_bench.rewards.http import HttpReward

PROMPTS = ["a cat", "a dog", "a longer one"]
QUICK: dict[str, Any] = {"pause": 0.0, "send": "frames"}


def videos(count: int = 3, frames: int = 2) -> Tensor:
    return torch.rand(count, frames, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def test_videos_and_prompts_go_out_in_batches_and_scores_come_in() -> None:
    clips = videos()
    with serving(red) as (url, seen):
        found = make_reward("http", {"url": url, "batch": 2} | QUICK).judge(clips, PROMPTS)
    wanted = clips[:, :, 0].mean((1, 2, 3)) + torch.tensor([5, 5, 12]) / 100
    torch.testing.assert_close(found.score, wanted, atol=1e-3, rtol=0)
    assert torch.equal(found.score, found.objective)
    assert [asked["prompts"] for asked in seen] == [PROMPTS[:2], PROMPTS[2:]]
    shown = torch.from_numpy(frames_of(seen[1]["videos"][0])).permute(0, 3, 1, 2)
    torch.testing.assert_close(shown.float(), clips[2], atol=0.5 / 255 + 1e-6, rtol=0)
    assert seen[0]["key"] is None


def test_an_mp4_has_the_frames_in_their_size() -> None:
    smooth = torch.linspace(0, 1, 24).expand(2, 3, 3, 16, 24)
    with serving(red) as (url, seen):
        HttpReward(url, pause=0).score(smooth, PROMPTS[:2])
    shown = frames_of(seen[0]["videos"][1])
    assert shown.shape == (3, 16, 24, 3)
    assert abs(shown - smooth[1].permute(0, 2, 3, 1).numpy()).mean() < 0.02


def test_the_key_is_sent_and_stands_nowhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MY_KEY", "secret-7")
    with serving(red) as (url, seen):
        reward = HttpReward(url, key="MY_KEY", **QUICK)
        reward.score(videos(1), ["a"])
        suite = tmp_path / "mine.yaml"
        judge = f"{{family: http, settings: {{url: '{url}', key: MY_KEY}}}}"
        suite.write_text(f"suite: mine\nextends: pocket\nrewards: {{served: {judge}}}\n", "utf-8")
        dumped = load_suite(str(suite)).model_dump_json()
    assert seen[0]["key"] == "Bearer secret-7"
    assert url in dumped
    assert "secret-7" not in dumped + reward.source
    assert list(weight_names({"url": url, "model": "./here"})) == ["./here"]


def test_a_server_that_comes_back_is_asked_again_and_a_query_is_counted_once() -> None:
    cut = scores(1.0, 2.0)._replace(cut=3)
    answers = iter([Answer(b"busy", 503), Answer(b"oops", 500), cut, scores(1.0, 2.0)])
    with serving(lambda _: next(answers)) as (url, seen):
        meter = Meter(Budget(reward_queries=2))
        judged = MeteredReward(HttpReward(url, **QUICK), meter).judge(videos(2), PROMPTS[:2])
    assert judged.score.tolist() == [1.0, 2.0]
    assert len(seen) == 4
    assert meter.ledger.reward_queries == 2


@pytest.mark.parametrize(
    ("answer", "message", "asked"),
    [
        (Answer(b"the model is away", 500), r"answered 500 'the model is away' \(asked 3 times\)", 3),
        (Answer(b"no such path", 404), "answered 404 'no such path'; look", 1),
        (Answer(b"", 302), "answered 302", 1),
        (Answer(b"<html>"), r"answered b'<html>', which is no \{\"scores\"", 1),
        (Answer(b"[1]"), r"answered b'\[1\]', which is no", 1),
        (Answer(b"[" * 100_000), "which is no", 1),
        (Answer(b'{"scores": 3}'), "answered 0 scores for 2 videos", 1),
        (scores(1.0), "answered 1 scores for 2 videos", 1),
        (scores(1.0, float("nan")), "answered nan as score 2, which is no finite number", 1),
        (scores(float("inf"), 1.0), "answered inf as score 1", 1),
        (scores(1.0, None), "answered None as score 2", 1),
        (scores(1.0, "1"), "answered '1' as score 2", 1),
        (Answer(b'{"scores": [true, 1]}'), "answered True as score 1", 1),
        (Answer(b'{"scores": [1' + b"0" * 400 + b", 1]}"), "which is no finite number", 1),
    ],
)
def test_what_is_no_score_stops_with_one_line(answer: Answer, message: str, asked: int) -> None:
    with serving(lambda _: answer) as (url, seen):
        with pytest.raises(UserError, match=message) as error:
            HttpReward(url, retries=2, **QUICK).score(videos(2), PROMPTS[:2])
        assert len(seen) == asked
    assert str(error.value).count("\n") == 0
    assert url in str(error.value)


def test_a_slow_answer_is_not_waited_for() -> None:
    done = threading.Event()

    def slow(_: Request) -> Answer:
        return scores(1.0)._replace(before=lambda: done.wait(10))

    with serving(slow) as (url, seen):
        reward = HttpReward(url, seconds=0.05, retries=1, **QUICK)
        with pytest.raises(UserError, match=r"gave no answer in 0\.05 seconds \(asked 2 times\)"):
            reward.score(videos(1), ["a"])
        done.set()
    assert len(seen) == 2


def test_a_server_that_is_away_is_named() -> None:
    with serving(red) as (url, _):
        pass
    with pytest.raises(
        UserError, match=rf"reward server {url}: cannot be reached \(.*refused.*asked 2 times"
    ):
        HttpReward(url, retries=1, **QUICK).score(videos(1), ["a"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "localhost:8000"}, "'localhost:8000': is no address of a server"),
        ({"url": "ftp://there/x"}, "is no address of a server"),
        ({"url": "http://"}, "is no address of a server"),
        ({"url": "http://a:99999/"}, "is no address of a server"),
        ({"url": "http://me:secret@there/"}, "url of the server there: holds a password"),
        ({"url": "http://there/", "key": "NOT_SET_ANYWHERE"}, "is no environment variable that is set"),
        ({"url": "http://there/", "batch": 0}, "batch: is 0"),
        ({"url": "http://there/", "send": "gif"}, "send: is 'gif'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        make_reward("http", settings)
    assert "secret" not in str(error.value)
