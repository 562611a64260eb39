"""Books are found where the world has drawn one, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vader_bench.pocket.books import book_likeness, shows_book
from vader_bench.pocket.boxes import things
from vader_bench.pocket.vocabulary import ACTIONS, COLOURS, NOUNS, SCENES, Caption
from vader_bench.pocket.world import FRAMES, SIZE, Clip, draw_clip, render, render_background
from vader_bench.seeding import numpy_stream

OTHERS = tuple(noun for noun in NOUNS if noun != "book")


def drawn(number: int, noun: str, prop: str | None = None) -> Clip:
    """Return clip ``number`` of ``noun``, each in another colour, scene and action."""
    words = [each[number % len(each)] for each in (COLOURS, ACTIONS, SCENES)]
    colour = COLOURS[(number * 5 + 2) % len(COLOURS)] if prop else None
    caption = Caption(words[0], noun, words[1], words[2], colour, prop)
    return draw_clip(numpy_stream(31, "books", noun, number), caption)


def frames_with_a_book(clips: list[Clip]) -> list[bool]:
    """Return what the boxes, the world's ground truth, say of every frame."""
    return [any(thing.noun == "book" for thing in things(clip, f)) for clip in clips for f in range(FRAMES)]


def found(clips: list[Clip]) -> np.ndarray:
    return np.concatenate([shows_book(render(clip)) for clip in clips])


def test_a_book_beside_an_actor_is_found() -> None:
    clips = [drawn(number, noun, "book") for number, noun in enumerate(OTHERS * 2)]
    there = np.array(frames_with_a_book(clips))
    assert there.mean() > 0.9, "in the others the actor hides it"
    assert found(clips)[there].mean() > 0.95


def test_an_actor_that_is_a_book_is_found_whatever_it_does() -> None:
    clips = [drawn(number, "book") for number in range(16)]
    assert all(frames_with_a_book(clips))
    assert found(clips).mean() > 0.93


@pytest.mark.parametrize("prop", [None, "cup"])
def test_where_there_is_none_none_is_found(prop: str | None) -> None:
    clips = [drawn(number, noun, prop) for number, noun in enumerate(OTHERS * 2)]
    assert not any(frames_with_a_book(clips))
    assert found(clips).mean() < 0.03


def test_the_windows_of_a_bus_are_no_book_and_a_book_beside_it_is() -> None:
    assert found([drawn(number, "bus") for number in range(8)]).mean() < 0.05
    clips = [drawn(number, "bus", "book") for number in range(16)]
    there = np.array(frames_with_a_book(clips))
    assert there.mean() > 0.9, "in the others the bus hides it"
    assert found(clips)[there].mean() > 0.9


def test_empty_scenes_and_noise_show_no_book() -> None:
    scenes = [np.repeat(render_background(scene, SIZE * 0.55)[None], FRAMES, axis=0) for scene in SCENES]
    noise = numpy_stream(3, "noise").uniform(size=(FRAMES, SIZE, SIZE, 3)).astype(np.float32)
    assert not any(shows_book(video).any() for video in (*scenes, noise, np.zeros_like(noise)))


def test_a_book_of_any_brightness_at_any_place_is_alike() -> None:
    clip = drawn(1, "book")
    still = replace(clip, caption=replace(clip.caption, action="moving left", scene="in the snow"))
    video = render(still)
    dark = np.where((video.max(axis=-1) - video.min(axis=-1) > 0.3)[..., None], video * 0.5, video)
    assert book_likeness(video).min() > 0.3
    assert book_likeness(dark).min() > 0.3
    assert np.ptp(book_likeness(video)) < 0.15, "moving alone changes little"
