"""The truths of the pocket suite's rewards, against what the world has drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from vader_bench.errors import UserError
from vader_bench.experiment.load import load_suite
from vader_bench.pocket import oracle
from vader_bench.pocket.oracle import Sighting
from vader_bench.pocket.shapes import Field
from vader_bench.pocket.taste import rate
from vader_bench.pocket.vocabulary import Caption, format_caption
from vader_bench.pocket.world import FRAMES, SIZE, Clip, draw_clip, render
from vader_bench.rewards import make_reward
from vader_bench.rewards.oracle import asked_for
from vader_bench.seeding import numpy_stream

ASKED = Caption("green", "rocket", "growing", "in the park")
WRONG = {"colour": "blue", "noun": "cup", "action": "spinning", "scene": "at night"}


def clip_of(caption: Caption) -> Clip:
    return draw_clip(numpy_stream(33, "golds"), caption)


def batch(*clips: Clip) -> Tensor:
    """Return clips as videos [B, F, 3, H, W]."""
    return torch.from_numpy(np.stack([render(clip) for clip in clips])).permute(0, 1, 4, 2, 3)


def score(family: str, asked: Caption = ASKED, shown: Caption = ASKED) -> float:
    return make_reward(family, {}).score(batch(clip_of(shown)), [format_caption(asked)]).item()


def rating(caption: Caption) -> float:
    """Return the mean of what each frame is rated by itself."""
    return float(np.mean([rate(frame[None])[0] for frame in render(clip_of(caption))]))


def test_the_truth_of_aesthetic_is_the_audience_s_rating_and_no_word_matters() -> None:
    assert score("audience-rating") == pytest.approx(rating(ASKED), rel=1e-6)
    assert score("audience-rating", asked=replace(ASKED, **WRONG)) == score("audience-rating")
    assert make_reward("audience-rating", {}).score(batch(clip_of(ASKED)) * 0 + 0.5, ["anything"]).item() == 1


@pytest.mark.parametrize(("word", "points"), [("colour", 2), ("noun", 2), ("scene", 2), ("action", 0)])
def test_a_missed_word_costs_a_rater_two_points_of_utility(word: str, points: float) -> None:
    whole = score("audience-utility")
    assert whole == pytest.approx(rating(ASKED) + 6, rel=1e-6)
    missed = score("audience-utility", asked=replace(ASKED, **{word: WRONG[word]}))
    assert whole - missed == pytest.approx(points, abs=1e-5)


@pytest.mark.parametrize(("word", "points"), [("colour", 3), ("noun", 4), ("scene", 2), ("action", 0)])
def test_pickscore_s_users_mind_each_word_by_its_worth_and_looks_half(word: str, points: float) -> None:
    whole = score("judges-appeal")
    assert whole == pytest.approx(9 + rating(ASKED) / 2, rel=1e-6)
    missed = score("judges-appeal", asked=replace(ASKED, **{word: WRONG[word]}))
    assert whole - missed == pytest.approx(points, abs=1e-5)


def test_the_truth_of_action_is_whether_it_happens() -> None:
    assert score("action-verdict") == 1
    for word, value in WRONG.items():
        assert score("action-verdict", asked=replace(ASKED, **{word: value})) == (word != "action")


def test_the_truth_of_object_removal_is_the_share_of_frames_without_a_book() -> None:
    beside = replace(ASKED, action="blinking", prop_noun="book", prop_colour="red")
    assert score("book-absence", shown=replace(beside, prop_noun="cup")) == 1
    assert score("book-absence", shown=beside) == 0
    video = batch(clip_of(beside))
    video[:, :3] = batch(clip_of(replace(ASKED, action="blinking")))[:, :3]
    assert make_reward("book-absence", {}).score(video, ["anything"]).item() == 3 / FRAMES


def test_the_truth_of_temporal_consistency_is_the_actor_s_constancy() -> None:
    assert score("actor-constancy") == pytest.approx(1, abs=0.01)
    video = batch(clip_of(ASKED))
    video[:, 5:] = batch(clip_of(replace(ASKED, noun="fish")))[:, 5:]
    assert make_reward("actor-constancy", {}).score(video, ["anything"]).item() == pytest.approx(
        5 / 8, abs=0.05
    )


def test_the_truth_of_the_mixture_is_the_mixture_of_truths() -> None:
    gold = load_suite("pocket").gold["aesthetic-hps"]
    asked = replace(ASKED, noun="cup", colour="blue")
    found = make_reward(gold.family, gold.settings).score(batch(clip_of(ASKED)), [format_caption(asked)])
    assert found.item() == pytest.approx(
        rating(ASKED) + 1, rel=1e-6
    )  # of three words one is met: 2 points, half


def test_all_golds_of_a_video_share_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    whole = oracle._look

    def counted(video: Field) -> Sighting:
        looks.append(len(video))
        return whole(video)

    monkeypatch.setattr(oracle, "_look", counted)
    monkeypatch.setattr(oracle, "_SEEN", {})
    clips = [draw_clip(numpy_stream(34, number), ASKED) for number in range(3)]
    video, prompts = batch(*clips), [format_caption(ASKED)] * 3
    suite = load_suite("pocket")
    for component in [*suite.gold.values(), *([suite.prompt_share] if suite.prompt_share else [])]:
        make_reward(component.family, component.settings).score(video, prompts)
    assert len(looks) == 3


@pytest.mark.parametrize("family", ["audience-utility", "judges-appeal", "action-verdict", "oracle"])
def test_a_prompt_from_elsewhere_is_refused_where_words_matter(family: str) -> None:
    with pytest.raises(UserError, match="'a dog runs': is not a sentence of the pocket world"):
        make_reward(family, {}).score(batch(clip_of(ASKED)), ["a dog runs"])


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a pink cat spinning in the park", "'pink' replaced by one of: red, "),
        ("a red dog spinning in the park", "'dog' replaced by one of: labrador, "),
        ("a red cat sleeping in the park", "it does one of: moving left, "),
        ("a red cat spinning on the moon", "and is one of: in the park, "),
        ("nothing", "write it like 'a red cat spinning in the park'$"),
    ],
)
def test_a_prompt_from_elsewhere_is_refused_with_the_words_that_may_stand_there(
    prompt: str, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        asked_for(prompt)


def test_videos_of_another_size_are_refused() -> None:
    video = torch.zeros(1, FRAMES, 3, SIZE, SIZE // 2)
    with pytest.raises(UserError, match=r"it wants frames of 64 x 64"):
        make_reward("actor-constancy", {}).score(video, ["anything"])
