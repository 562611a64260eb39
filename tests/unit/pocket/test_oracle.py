"""The oracle names what the world has drawn, and notices when it has not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vader_bench.pocket import oracle
from vader_bench.pocket.oracle import Sighting, look, prompt_share
from vader_bench.pocket.shapes import Field
from vader_bench.pocket.vocabulary import ACTIONS, NOUNS, SCENES, Caption
from vader_bench.pocket.world import FRAMES, SIZE, draw_clip, render, render_background
from vader_bench.seeding import numpy_stream


def share(video: Field, asked: Caption) -> float:
    """Return the share of ``asked`` that is seen in ``video``."""
    return prompt_share(look(video), asked)


@pytest.mark.parametrize("noun", NOUNS)
def test_real_clips_are_named_right(noun: str) -> None:
    for i, action in enumerate(ACTIONS):
        rng = numpy_stream(7, "oracle", noun, action)
        caption = Caption("purple", noun, action, SCENES[i % len(SCENES)])
        video = render(draw_clip(rng, caption))
        seen = look(video)
        assert (seen.colour, seen.noun, seen.action, seen.scene) == ("purple", noun, action, caption.scene)
        assert share(video, caption) > 0.99


def test_each_wrong_word_costs_a_quarter() -> None:
    caption = Caption("red", "bus", "growing", "in the snow")
    video = render(draw_clip(numpy_stream(1, "oracle"), caption))
    for change in ({"colour": "blue"}, {"noun": "cat"}, {"action": "spinning"}, {"scene": "at night"}):
        assert share(video, replace(caption, **change)) == pytest.approx(0.75, abs=0.01)


def test_an_empty_scene_has_only_a_scene() -> None:
    video = np.repeat(render_background("on the beach", 35)[None], FRAMES, axis=0)
    seen = look(video)
    assert (seen.colour, seen.noun, seen.action, seen.scene) == ("", "", "", "on the beach")
    assert share(video, Caption("red", "bus", "growing", "on the beach")) == 0.25


def test_a_still_actor_is_not_taken_for_one_that_blinks_when_its_brightness_is_steady() -> None:
    caption = Caption("red", "bus", "blinking", "in the snow")
    video = render(draw_clip(numpy_stream(2, "oracle"), caption))
    still = np.repeat(video[:1], FRAMES, axis=0)
    assert look(still).overlap < look(video).overlap


def test_noise_is_survived_and_grey_is_nothing() -> None:
    rng = numpy_stream(5, "noise")
    grey = np.full((FRAMES, SIZE, SIZE, 3), 0.5, np.float32)
    assert look(grey).noun == ""
    caption = Caption("green", "rocket", "moving left", "in the snow")
    video = render(draw_clip(rng, caption))
    noisy = np.clip(video + rng.normal(0, 0.03, video.shape), 0, 1).astype(np.float32)
    assert share(noisy, caption) > 0.9


def test_a_clip_is_looked_at_once_by_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    whole = oracle._look

    def counted(video: Field) -> Sighting:
        looks.append(len(video))
        return whole(video)

    monkeypatch.setattr(oracle, "_look", counted)
    monkeypatch.setattr(oracle, "_SEEN", {})
    video = render(draw_clip(numpy_stream(3, "oracle")))
    first = look(video)
    assert look(video.copy()) == look(np.asfortranarray(video)) == first
    assert len(looks) == 1
    changed = video.copy()
    changed[0, 0, 0] = 1 - changed[0, 0, 0]
    look(changed)
    assert len(looks) == 2
    monkeypatch.setattr(oracle, "_REMEMBERED", 2)
    look(video[::-1])
    assert len(oracle._SEEN) == 2
