"""An actor is constant where the world has drawn one actor, and where frames are of others it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vader_bench.pocket.constancy import constancy
from vader_bench.pocket.shapes import Field
from vader_bench.pocket.vocabulary import ACTIONS, COLOURS, NOUNS, SCENES, Caption
from vader_bench.pocket.world import FRAMES, SIZE, Clip, draw_clip, render, render_background
from vader_bench.seeding import numpy_stream


def drawn(number: int, **words: str) -> Clip:
    caption = Caption(
        **{
            "colour": COLOURS[number % len(COLOURS)],
            "noun": NOUNS[number % len(NOUNS)],
            "action": ACTIONS[number % len(ACTIONS)],
            "scene": SCENES[number // 2 % len(SCENES)],
        }
        | words
    )
    return draw_clip(numpy_stream(32, "constancy", number), caption)


def other(clip: Clip, **words: str) -> Field:
    """Return the clip with other words, drawn otherwise the same."""
    return render(replace(clip, caption=replace(clip.caption, **words)))


@pytest.mark.parametrize("action", ACTIONS)
def test_true_clips_of_any_action_are_constant(action: str) -> None:
    scores = [constancy(render(drawn(number, action=action))) for number in range(len(NOUNS))]
    assert min(scores) > 0.98, scores


def test_a_prop_of_another_colour_takes_nothing_away() -> None:
    for number in range(12):
        clip = drawn(number)
        beside = replace(clip.caption, prop_noun="cup", prop_colour=COLOURS[(number + 1) % len(COLOURS)])
        assert constancy(render(replace(clip, caption=beside))) > 0.95


def test_place_and_order_do_not_matter() -> None:
    for number in range(8):
        video = render(drawn(number))
        assert constancy(np.repeat(video[3:4], FRAMES, axis=0)) > 0.98
        assert constancy(video[::-1]) == pytest.approx(constancy(video))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_frame_of_another_clip_costs_its_share(count: int) -> None:
    scores = []
    for number in range(12):
        video = render(drawn(number)).copy()
        video[:count] = render(drawn(number + 5))[:count]  # another colour, noun and action
        scores.append(constancy(video))
    assert np.mean(scores) == pytest.approx(1 - count / FRAMES, abs=0.03)
    assert max(scores) < 1 - count / FRAMES + 0.05


@pytest.mark.parametrize("word", ["colour", "noun"])
def test_an_actor_that_turns_into_another_half_way_is_half_constant(word: str) -> None:
    words = {"colour": COLOURS, "noun": NOUNS}[word]
    scores = []
    for number in range(12):
        clip = drawn(number)
        video = render(clip).copy()
        after = words[(words.index(getattr(clip.caption, word)) + 1) % len(words)]
        video[FRAMES // 2 :] = other(clip, **{word: after})[FRAMES // 2 :]
        scores.append(constancy(video))
    assert np.mean(scores) == pytest.approx(0.5, abs=0.05)
    assert max(scores) < 0.65


def test_a_frame_without_the_actor_counts_nothing() -> None:
    clip = drawn(0)
    video = render(clip).copy()
    video[2] = render_background(clip.caption.scene, clip.horizon)
    assert constancy(video) == pytest.approx(7 / 8, abs=0.02)


def test_nothing_and_noise_are_not_constant() -> None:
    empty = np.repeat(render_background("on the beach", SIZE * 0.55)[None], FRAMES, axis=0)
    noise = numpy_stream(3, "noise").uniform(size=empty.shape).astype(np.float32)
    assert constancy(empty) == 0
    assert constancy(noise) < 0.4
