"""Boxes lie around what is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vader_bench.pocket.boxes import box_of, things
from vader_bench.pocket.vocabulary import NOUNS, Caption
from vader_bench.pocket.world import FRAMES, SIZE, Clip, render, render_background

ALONE = Clip(Caption("red", "bus", "moving left", "at night"), x=34, y=36, radius=15, tone=1.0, horizon=35)
BESIDE = replace(ALONE, caption=replace(ALONE.caption, prop_colour="blue", prop_noun="book"))


def drawn_box(clip: Clip, frame: int) -> tuple[float, ...]:
    """The box around what ``frame`` adds to scenes: light parts show at night, dark ones in the snow."""
    changed = np.zeros((SIZE, SIZE), bool)
    for scene in ("at night", "in the snow"):
        picture = render(replace(clip, caption=replace(clip.caption, scene=scene)), [frame])[0]
        changed |= np.abs(picture - render_background(scene, clip.horizon)).max(axis=-1) > 0.4
    down, across = np.nonzero(changed)
    edges = across.min(), down.min(), across.max() + 1, down.max() + 1
    left, top, right, bottom = (float(edge) / SIZE for edge in edges)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("frame", [0, FRAMES - 1])
def test_the_actor_is_in_its_box(noun: str, frame: int) -> None:
    clip = replace(ALONE, caption=replace(ALONE.caption, noun=noun))
    (found,) = things(clip, frame)
    assert found.noun == noun
    np.testing.assert_allclose(found.box, drawn_box(clip, frame), atol=2.5 / SIZE)


def test_a_prop_is_found_where_it_rests() -> None:
    actor, prop = things(BESIDE, 7)
    assert (actor.noun, prop.noun) == ("bus", "book")
    np.testing.assert_allclose(prop.box[:2], [12 / SIZE, 52 / SIZE], atol=4 / SIZE)
    assert max(prop.box[2:]) <= 20 / SIZE


def test_a_prop_behind_the_actor_is_not_shown() -> None:
    hiding = replace(BESIDE, x=33, y=50, radius=24)
    before = things(hiding, 7)
    assert [thing.noun for thing in before] == ["bus"]
    assert [thing.noun for thing in things(hiding, 0)] == ["bus", "book"]


def test_boxes_are_shares_of_the_picture_and_whole_pixels() -> None:
    coverage = np.zeros((SIZE, SIZE), np.float32)
    coverage[8:16, 32:64] = 1
    coverage[0, 0] = 0.4
    assert box_of(coverage) == (0.75, 0.1875, 0.5, 0.125)


def test_nothing_has_no_box() -> None:
    with pytest.raises(ValueError, match="no pixel is covered"):
        box_of(np.zeros((SIZE, SIZE), np.float32))
