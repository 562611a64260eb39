"""The world draws what its captions say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vader_bench.pocket.shapes import SHAPES
from vader_bench.pocket.vocabulary import ACTIONS, NOUNS, SCENES, Caption
from vader_bench.pocket.world import (
    FRAMES,
    SIZE,
    Clip,
    draw_clip,
    poses,
    prop_pose,
    render,
    render_background,
    render_mask,
    render_silhouette,
)
from vader_bench.seeding import numpy_stream


def _clip(
    noun: str = "bus", action: str = "blinking", scene: str = "in the snow", colour: str = "red"
) -> Clip:
    return Clip(Caption(colour, noun, action, scene), x=32, y=36, radius=15, tone=1.0, horizon=35)


def test_frames_have_the_documented_shape_and_range() -> None:
    video = render(draw_clip(numpy_stream(0, "world")))
    assert video.shape == (FRAMES, SIZE, SIZE, 3)
    assert video.dtype == np.float32
    assert video.min() >= 0
    assert video.max() <= 1


def test_equal_clips_are_equal_pictures_and_streams_repeat() -> None:
    first, second = (draw_clip(numpy_stream(3, "clip")) for _ in range(2))
    assert first == second
    np.testing.assert_array_equal(render(first), render(second))


def test_chosen_frames_equal_those_of_the_whole_clip() -> None:
    clip = _clip(action="spinning")
    np.testing.assert_array_equal(render(clip, [1, 6]), render(clip)[[1, 6]])


def test_every_noun_has_its_own_silhouette() -> None:
    assert set(SHAPES) == set(NOUNS)
    masks = {noun: render_mask(noun, 15, poses(_clip(noun))[:1])[0] for noun in NOUNS}
    for one in NOUNS:
        for other in NOUNS:
            if one < other:
                overlap = (
                    np.minimum(masks[one], masks[other]).sum() / np.maximum(masks[one], masks[other]).sum()
                )
                assert overlap < 0.75, (one, other)


def test_a_silhouette_covers_the_body_and_its_details() -> None:
    for noun in NOUNS:
        where = poses(_clip(noun))[:2]
        whole, body = render_silhouette(noun, 15, where), render_mask(noun, 15, where)
        assert whole.shape == (2, SIZE, SIZE)
        assert (whole >= body - 1e-5).all()
        assert whole.max() <= 1 + 1e-5
        assert whole.sum() > body.sum(), noun
        change = np.abs(render(_clip(noun), [0])[0] - render_background("in the snow", 35)).max(axis=-1)
        assert whole[0][change > 0.05].min() > 0.04
        assert change[whole[0] < 0.01].max() < 0.02


def test_a_prop_rests_on_the_other_side() -> None:
    left, right = (prop_pose(replace(_clip(), x=x)).x for x in (40, 20))
    assert left < SIZE / 2 < right


def test_every_scene_has_its_own_background() -> None:
    pictures = [render_background(scene, 35) for scene in SCENES]
    for i, one in enumerate(pictures):
        for other in pictures[i + 1 :]:
            assert np.abs(one - other).mean() > 0.03


def _path(action: str) -> np.ndarray:
    return np.array(
        [[p.x, p.y, p.scale_x, p.scale_y, p.angle, p.brightness] for p in poses(_clip(action=action))]
    )


@pytest.mark.parametrize(
    ("action", "column", "expected"),
    [
        ("moving left", 0, [44, 20]),
        ("moving right", 0, [20, 44]),
        ("growing", 2, [0.55, 1.25]),
        ("shrinking", 3, [1.25, 0.55]),
        ("jumping", 1, [42, 42]),
    ],
)
def test_actions_begin_and_end_where_they_should(action: str, column: int, expected: list[float]) -> None:
    np.testing.assert_allclose(_path(action)[[0, -1], column], expected)


def test_each_action_changes_only_its_own_features() -> None:
    changing = {
        "moving left": [0],
        "moving right": [0],
        "jumping": [1],
        "spinning": [4],
        "growing": [2, 3],
        "shrinking": [2, 3],
        "flapping": [2, 3],
        "blinking": [5],
    }
    assert set(changing) == set(ACTIONS)
    for action, columns in changing.items():
        assert np.flatnonzero(np.ptp(_path(action), axis=0)).tolist() == columns


def test_a_blinking_actor_keeps_its_place_and_gets_dark() -> None:
    video = render(_clip(action="blinking"))
    body = render_mask("bus", 15, poses(_clip())[:1])[0] > 0.99
    red = video[:, body, 0].mean(axis=1)
    np.testing.assert_allclose(red[[0, 4]], red[0], rtol=1e-5)
    np.testing.assert_allclose(red[2] / red[0], 0.4, rtol=1e-4)


def test_the_share_of_props_is_as_asked() -> None:
    clips = [draw_clip(numpy_stream(0, "prop", i), prop_share=0.15) for i in range(400)]
    share = np.mean([clip.caption.prop_noun is not None for clip in clips])
    assert 0.10 < share < 0.20
